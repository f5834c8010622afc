//===- GgufTokenizer.cpp - The vocabulary in a GGUF file ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/GgufTokenizer.h"

#include "importer/InputError.h"

using namespace llvm;

namespace sputnik {
namespace {

constexpr StringLiteral tokensKey = "tokenizer.ggml.tokens";
constexpr StringLiteral typesKey = "tokenizer.ggml.token_type";
constexpr StringLiteral mergesKey = "tokenizer.ggml.merges";

Error expectedArray(const GgufFile &file, StringRef key, StringRef elements) {
  const GgufValue *value = file.find(key);
  return inputError(file.path(), "key " + quoted(key) + " is " +
                                     (value ? value->kindText() : "missing") +
                                     ", expected an array of " + elements);
}

Error readArrays(const GgufFile &file, GgufTokenizer &result) {
  const GgufValue *tokens = file.find(tokensKey);
  if (tokens && (tokens->count == 0 || tokens->count > maxVocabulary))
    return inputError(file.path(), "key " + quoted(tokensKey) + " has " +
                                       Twine(tokens->count) +
                                       " elements, expected 1 to " +
                                       Twine(maxVocabulary));
  std::optional<std::vector<StringRef>> strings;
  if (tokens)
    strings = tokens->asStrings();
  if (!strings)
    return expectedArray(file, tokensKey, "strings");
  result.tokens = std::move(*strings);

  if (const GgufValue *types = file.find(typesKey)) {
    std::optional<std::vector<int32_t>> numbers;
    if (types->count == result.tokens.size())
      numbers = types->asIntegers();
    else if (types->kind == GgufValue::Array)
      return inputError(file.path(), "key " + quoted(typesKey) + " has " +
                                         Twine(types->count) +
                                         " elements, expected " +
                                         Twine(result.tokens.size()) +
                                         ", one for each token");
    if (!numbers)
      return expectedArray(file, typesKey, "32-bit integers");
    for (int32_t type : *numbers)
      if (type < 1 || type > 6)
        return inputError(file.path(), "key " + quoted(typesKey) +
                                           " has the token type " +
                                           Twine(type) + ", expected 1 to 6");
    result.types = std::move(*numbers);
  }
  if (const GgufValue *merges = file.find(mergesKey)) {
    if (merges->count > maxVocabulary)
      return inputError(file.path(), "key " + quoted(mergesKey) + " has " +
                                         Twine(merges->count) +
                                         " elements, expected at most " +
                                         Twine(maxVocabulary));
    strings = merges->asStrings();
    if (!strings)
      return expectedArray(file, mergesKey, "strings");
    result.merges = std::move(*strings);
  }
  return Error::success();
}

/// The id that `key` names, checked to be a token.
Error readId(const GgufFile &file, StringRef key, size_t tokens,
             std::optional<int64_t> &id) {
  Expected<std::optional<int64_t>> value = file.integer(key);
  if (!value)
    return value.takeError();
  id = *value;
  if (id && (*id < 0 || static_cast<uint64_t>(*id) >= tokens))
    return inputError(file.path(), "key " + quoted(key) + " is " + Twine(*id) +
                                       ", expected a token id from 0 to " +
                                       Twine(tokens - 1));
  return Error::success();
}

template <typename T>
Error assign(Expected<std::optional<T>> value, std::optional<T> &to) {
  if (!value)
    return value.takeError();
  to = *value;
  return Error::success();
}

} // namespace

Expected<GgufTokenizer> readGgufTokenizer(const GgufFile &file) {
  GgufTokenizer result;
  std::optional<StringRef> model, pre;
  if (Error error = assign(file.string("tokenizer.ggml.model"), model))
    return error;
  if (Error error = assign(file.string("tokenizer.ggml.pre"), pre))
    return error;
  result.model = model.value_or("");
  result.pre = pre.value_or("");
  if (Error error = readArrays(file, result))
    return error;

  const size_t tokens = result.tokens.size();
  if (Error error =
          readId(file, "tokenizer.ggml.bos_token_id", tokens, result.bos))
    return error;
  if (Error error =
          readId(file, "tokenizer.ggml.eos_token_id", tokens, result.eos))
    return error;
  if (Error error =
          readId(file, "tokenizer.ggml.padding_token_id", tokens, result.pad))
    return error;
  if (Error error =
          assign(file.boolean("tokenizer.ggml.add_bos_token"), result.addBos))
    return error;
  if (Error error =
          assign(file.boolean("tokenizer.ggml.add_eos_token"), result.addEos))
    return error;
  if (Error error =
          assign(file.string("tokenizer.chat_template"), result.chatTemplate))
    return error;
  return result;
}

} // namespace sputnik
