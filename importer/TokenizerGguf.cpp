//===- TokenizerGguf.cpp - Tokenizers of GGUF files -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/InputError.h"
#include "importer/TokenizerBuilder.h"
#include "importer/TokenizerReader.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;

namespace sputnik {
namespace {

/// `tokenizer.ggml.token_type`.
enum TokenType : int32_t {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6,
};

Error addTokens(const GgufTokenizer &in, StringRef path,
                TokenizerBuilder &builder) {
  // Entries of the vocabulary first: added tokens are checked against them.
  for (const bool addedPass : {false, true})
    for (const auto &[id, text] : enumerate(in.tokens)) {
      const int32_t type = in.types.empty() ? int32_t{Normal} : in.types[id];
      // Ids without a token; converters have typed them in two ways.
      const std::string padding = "[PAD" + std::to_string(id) + "]";
      if (type == Unused || (type == UserDefined && text == padding))
        continue;
      if (type != Normal && type != Unknown && type != Control &&
          type != UserDefined)
        return inputError(path, "tokenizer.ggml.token_type: token " +
                                    Twine(id) + ", " + quoted(text) +
                                    ", has type " + Twine(type) +
                                    ", which a byte-level BPE has not");
      const bool isAdded = type == Control || type == UserDefined;
      if (isAdded != addedPass)
        continue;
      if (Error error = isAdded
                            ? builder.addAddedToken(text, id, type == Control,
                                                    /*normalized=*/false)
                            : builder.addToken(text, id))
        return error;
    }
  return Error::success();
}

} // namespace

Expected<TokenizerSpec> readTokenizerGguf(const GgufTokenizer &in,
                                          StringRef path) {
  if (in.model != "gpt2")
    return inputError(path, "tokenizer.ggml.model is " + quoted(in.model) +
                                ", expected 'gpt2' (a byte-level BPE)");
  using Kind = rt::PreTokenizerKind;
  const auto kind =
      StringSwitch<std::optional<Kind>>(in.pre)
          .Cases({"qwen2", "deepseek-r1-qwen"}, Kind::SingleDigits)
          .Cases({"llama-bpe", "llama3", "llama-v3"}, Kind::DigitTriples)
          .Case("deepseek-v3", Kind::ThreeExpressions)
          .Default(std::nullopt);
  if (!kind)
    return inputError(path, "tokenizer.ggml.pre is " + quoted(in.pre) +
                                ", expected 'qwen2', 'deepseek-r1-qwen', "
                                "'llama-bpe' or 'deepseek-v3'");
  if (!in.types.empty() && in.types.size() != in.tokens.size())
    return inputError(
        path, "tokenizer.ggml.token_type has " + Twine(in.types.size()) +
                  " elements, expected " + Twine(in.tokens.size()) +
                  " as tokenizer.ggml.tokens");
  TokenizerBuilder builder(path);
  if (Error error = addTokens(in, path, builder))
    return error;
  for (const auto &[index, merge] : enumerate(in.merges))
    if (Error error = builder.addMerge(merge, index))
      return error;
  if (Error error = builder.finishVocabulary())
    return error;
  TokenizerSpec &spec = builder.spec();
  spec.preTokenizer = *kind;
  // GGUF has no key for either; they belong to the vocabularies.
  spec.nfc = *kind == Kind::SingleDigits;
  spec.ignoreMerges = *kind == Kind::DigitTriples;
  if (in.bos)
    if (Error error = builder.setBos(*in.bos, "tokenizer.ggml.bos_token_id"))
      return error;
  if (in.eos)
    if (Error error = builder.addEos(*in.eos, "tokenizer.ggml.eos_token_id"))
      return error;
  if (in.pad)
    if (Error error =
            builder.setPad(*in.pad, "tokenizer.ggml.padding_token_id"))
      return error;
  spec.addBos = in.addBos.value_or(false) && spec.bosId;
  builder.setChatTemplate(in.chatTemplate.value_or(""), path);
  return std::move(spec);
}

} // namespace sputnik
