//===- TokenizerReader.cpp - Tokenizers of Hugging Face folders -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/TokenizerReader.h"

#include "importer/InputError.h"
#include "importer/InputFile.h"
#include "importer/Json.h"
#include "importer/TokenizerBuilder.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <memory>

using namespace llvm;

namespace sputnik {
namespace {

constexpr StringRef qwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr StringRef llama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr StringRef deepSeekPatterns[] = {
    R"(\p{N}{1,3})",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|)"
    R"([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
};

/// Line breaks stand in patterns as themselves or as escapes.
std::string escapeLineBreaks(StringRef pattern) {
  std::string result;
  for (char c : pattern) {
    if (c == '\r' || c == '\n')
      result += c == '\r' ? "\\r" : "\\n";
    else
      result += c;
  }
  return result;
}

/// The value of `key` unless it is missing or null.
const json::Value *member(const json::Object &object, StringRef key) {
  const json::Value *value = object.get(key);
  return value && !value->getAsNull() ? value : nullptr;
}

bool isTrue(const json::Object &object, StringRef key) {
  const json::Value *value = member(object, key);
  return value && value->getAsBoolean().value_or(true);
}

/// Reads one folder's texts. The functions follow the parts of tokenizer.json.
class FolderReader {
public:
  explicit FolderReader(const TokenizerTexts &files)
      : files(files), path(files.tokenizer.path), builder(path) {}

  Expected<TokenizerSpec> read() {
    Expected<json::Value> root = parseJson(files.tokenizer.text, path);
    if (!root)
      return root.takeError();
    const json::Object *object = root->getAsObject();
    if (!object)
      return fail("the file is not a JSON object");
    if (Error error = readModel(*object))
      return error;
    if (Error error = readNormalizer(member(*object, "normalizer")))
      return error;
    if (Error error = readPreTokenizer(member(*object, "pre_tokenizer")))
      return error;
    if (Error error = checkDecoder(member(*object, "decoder")))
      return error;
    readPostProcessor(member(*object, "post_processor"));
    if (Error error = readConfigs())
      return error;
    return std::move(builder.spec());
  }

private:
  Error fail(const Twine &message) const { return inputError(path, message); }

  Error readModel(const json::Object &root) {
    const json::Object *model = root.getObject("model");
    if (!model)
      return fail("'model' is missing or not an object");
    const StringRef type = model->getString("type").value_or("");
    if (type != "BPE")
      return fail("model.type is " + quoted(type) + ", expected 'BPE'");
    for (StringRef key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const json::Value *value = member(*model, key))
        if (value->getAsString() != StringRef())
          return fail("model." + key + " is set, expected none");
    for (StringRef key : {"dropout", "byte_fallback"})
      if (const json::Value *value = member(*model, key))
        if (value->getAsNumber() != 0.0 && value->getAsBoolean() != false)
          return fail("model." + key + " is set, expected none");
    builder.spec().ignoreMerges = isTrue(*model, "ignore_merges");
    const json::Object *vocabulary = model->getObject("vocab");
    if (!vocabulary)
      return fail("model.vocab is missing or not an object");
    if (Error error = readVocabulary(*vocabulary))
      return error;
    if (Error error = readAddedTokens(root))
      return error;
    const json::Array *merges = model->getArray("merges");
    if (!merges)
      return fail("model.merges is missing or not an array");
    if (Error error = readMerges(*merges))
      return error;
    return builder.finishVocabulary();
  }

  /// An id as JSON gives it; nothing if it is not an integer.
  static std::optional<int64_t> integer(const json::Value &value) {
    return value.getAsInteger();
  }

  Error readVocabulary(const json::Object &vocabulary) {
    // The object has no order of its own; by id, errors do not depend on it.
    std::vector<std::pair<int64_t, StringRef>> entries;
    entries.reserve(vocabulary.size());
    for (const auto &[token, value] : vocabulary) {
      const std::optional<int64_t> id = integer(value);
      if (!id)
        return fail("model.vocab: the id of " + quoted(token) +
                    " is not an integer");
      entries.push_back({*id, token});
    }
    llvm::sort(entries);
    for (const auto &[id, token] : entries)
      if (Error error = builder.addToken(token, id))
        return error;
    return Error::success();
  }

  Error readAddedTokens(const json::Object &root) {
    const json::Value *value = member(root, "added_tokens");
    if (!value)
      return Error::success();
    const json::Array *tokens = value->getAsArray();
    if (!tokens)
      return fail("added_tokens is not an array");
    for (const auto &[index, element] : enumerate(*tokens)) {
      const std::string name = "added_tokens[" + std::to_string(index) + "]";
      const json::Object *token = element.getAsObject();
      if (!token)
        return fail(name + " is not an object");
      const std::optional<int64_t> id = token->getInteger("id");
      if (!id)
        return fail(name + ".id is missing or not an integer");
      const std::optional<StringRef> content = token->getString("content");
      if (!content)
        return fail(name + ".content is missing or not a string");
      for (StringRef key : {"single_word", "lstrip", "rstrip"})
        if (isTrue(*token, key))
          return fail(name + "." + key + " of " + quoted(*content) +
                      " is true, expected false");
      if (Error error =
              builder.addAddedToken(*content, *id, isTrue(*token, "special"),
                                    isTrue(*token, "normalized")))
        return error;
    }
    return Error::success();
  }

  Error readMerges(const json::Array &merges) {
    for (const auto &[index, element] : enumerate(merges)) {
      if (const std::optional<StringRef> both = element.getAsString()) {
        if (Error error = builder.addMerge(*both, index))
          return error;
        continue;
      }
      const json::Array *pair = element.getAsArray();
      if (!pair || pair->size() != 2 || !(*pair)[0].getAsString() ||
          !(*pair)[1].getAsString())
        return fail("model.merges[" + Twine(index) +
                    "] is neither \"left right\" nor [\"left\", \"right\"]");
      if (Error error = builder.addMerge(*(*pair)[0].getAsString(),
                                         *(*pair)[1].getAsString(), index))
        return error;
    }
    return Error::success();
  }

  Error readNormalizer(const json::Value *value) {
    if (!value)
      return Error::success();
    SmallVector<const json::Value *, 2> parts{value};
    if (const json::Object *object = value->getAsObject();
        object && object->getString("type") == StringRef("Sequence")) {
      parts.clear();
      if (const json::Array *array = object->getArray("normalizers"))
        for (const json::Value &part : *array)
          parts.push_back(&part);
    }
    for (const json::Value *part : parts) {
      const json::Object *object = part->getAsObject();
      const StringRef type =
          object ? object->getString("type").value_or("") : "";
      if (type != "NFC")
        return fail("normalizer.type is " + quoted(type) +
                    ", expected 'NFC' or no normalizer");
      builder.spec().nfc = true;
    }
    return Error::success();
  }

  Error readPreTokenizer(const json::Value *value) {
    const json::Object *sequence = value ? value->getAsObject() : nullptr;
    const json::Array *parts =
        sequence ? sequence->getArray("pretokenizers") : nullptr;
    SmallVector<std::string, 3> patterns;
    bool byteLevel = false;
    for (size_t i = 0; parts && i < parts->size(); ++i) {
      const std::string name =
          "pre_tokenizer.pretokenizers[" + std::to_string(i) + "]";
      const json::Object *part = (*parts)[i].getAsObject();
      const StringRef type = part ? part->getString("type").value_or("") : "";
      if (type == "ByteLevel" && i + 1 == parts->size()) {
        byteLevel = true;
        // Both are true where they are not given.
        if (part->getBoolean("add_prefix_space").value_or(true) ||
            part->getBoolean("use_regex").value_or(true))
          return fail(name + ": add_prefix_space or use_regex is true, "
                             "expected false");
      } else if (type == "Split") {
        const json::Object *pattern = part->getObject("pattern");
        if (!pattern || !pattern->getString("Regex"))
          return fail(name + ".pattern.Regex is missing or not a string");
        if (part->getString("behavior") != StringRef("Isolated") ||
            isTrue(*part, "invert"))
          return fail(name + " does not isolate what its pattern matches");
        patterns.push_back(escapeLineBreaks(*pattern->getString("Regex")));
      } else {
        return fail(name + ".type is " + quoted(type) +
                    ", expected 'Split' and a last 'ByteLevel'");
      }
    }
    if (!byteLevel)
      return fail("pre_tokenizer is not a sequence that ends in 'ByteLevel'");
    if (patterns.size() == 1 && patterns[0] == qwen2Pattern)
      builder.spec().preTokenizer = rt::PreTokenizerKind::SingleDigits;
    else if (patterns.size() == 1 && patterns[0] == llama3Pattern)
      builder.spec().preTokenizer = rt::PreTokenizerKind::DigitTriples;
    else if (std::equal(patterns.begin(), patterns.end(),
                        std::begin(deepSeekPatterns),
                        std::end(deepSeekPatterns)))
      builder.spec().preTokenizer = rt::PreTokenizerKind::ThreeExpressions;
    else
      return fail("pre_tokenizer has " + Twine(patterns.size()) +
                  " patterns, the first is " +
                  quoted(patterns.empty() ? "" : patterns[0]) +
                  "; expected those of Qwen2, Llama 3 or DeepSeek-V3");
    return Error::success();
  }

  Error checkDecoder(const json::Value *value) {
    const json::Object *decoder = value ? value->getAsObject() : nullptr;
    const StringRef type =
        decoder ? decoder->getString("type").value_or("") : "";
    if (value && type != "ByteLevel")
      return fail("decoder.type is " + quoted(type) + ", expected 'ByteLevel'");
    return Error::success();
  }

  /// A template that begins with a special token adds a BOS token.
  void readPostProcessor(const json::Value *value) {
    const json::Object *processor = value ? value->getAsObject() : nullptr;
    if (!processor)
      return;
    SmallVector<const json::Object *, 2> parts{processor};
    if (const json::Array *array = processor->getArray("processors"))
      for (const json::Value &part : *array)
        if (const json::Object *object = part.getAsObject())
          parts.push_back(object);
    for (const json::Object *part : parts) {
      const json::Array *single = part->getArray("single");
      const json::Object *first =
          single && !single->empty() ? single->front().getAsObject() : nullptr;
      const json::Object *token =
          first ? first->getObject("SpecialToken") : nullptr;
      if (!token)
        continue;
      templateBos = token->getString("id").value_or("").str();
    }
  }

  /// The text of a special token: a string, or an object that has one.
  static std::optional<StringRef> tokenText(const json::Object &config,
                                            StringRef key) {
    const json::Value *value = member(config, key);
    if (!value)
      return std::nullopt;
    if (const json::Object *object = value->getAsObject())
      return object->getString("content");
    return value->getAsString();
  }

  Expected<std::optional<int64_t>> tokenId(const json::Object &config,
                                           StringRef key) {
    const std::optional<StringRef> text = tokenText(config, key);
    if (!text)
      return std::nullopt;
    if (const std::optional<uint32_t> id = builder.find(*text))
      return std::optional<int64_t>(*id);
    return inputError(files.config->path,
                      key + " is " + quoted(*text) +
                          ", which is no token of the vocabulary");
  }

  Error readConfigs() {
    json::Object config, generation;
    if (Error error = parseObject(files.config, config))
      return error;
    if (Error error = parseObject(files.generationConfig, generation))
      return error;
    if (Error error = readBos(config, generation))
      return error;
    if (Error error = readEos(config, generation))
      return error;
    Expected<std::optional<int64_t>> pad = tokenId(config, "pad_token");
    if (!pad)
      return pad.takeError();
    if (*pad)
      if (Error error = builder.setPad(**pad, "pad_token"))
        return error;
    if (files.chatTemplate) {
      builder.setChatTemplate(files.chatTemplate->text,
                              files.chatTemplate->path);
      return Error::success();
    }
    builder.setChatTemplate(chatTemplateOf(config),
                            files.config ? files.config->path : path);
    return Error::success();
  }

  static Error parseObject(const std::optional<NamedText> &file,
                           json::Object &object) {
    if (!file)
      return Error::success();
    Expected<json::Value> value = parseJson(file->text, file->path);
    if (!value)
      return value.takeError();
    if (!value->getAsObject())
      return inputError(file->path, "the file is not a JSON object");
    object = std::move(*value->getAsObject());
    return Error::success();
  }

  Error readBos(const json::Object &config, const json::Object &generation) {
    Expected<std::optional<int64_t>> bos = tokenId(config, "bos_token");
    if (!bos)
      return bos.takeError();
    std::string key = "bos_token";
    if (!*bos && !templateBos.empty()) {
      key = "post_processor";
      if (const std::optional<uint32_t> id = builder.find(templateBos))
        *bos = *id;
    }
    if (!*bos) {
      key = "bos_token_id";
      *bos = generation.getInteger(key);
    }
    if (*bos)
      if (Error error = builder.setBos(**bos, key))
        return error;
    builder.spec().addBos =
        config.getBoolean("add_bos_token").value_or(!templateBos.empty());
    return Error::success();
  }

  Error readEos(const json::Object &config, const json::Object &generation) {
    Expected<std::optional<int64_t>> eos = tokenId(config, "eos_token");
    if (!eos)
      return eos.takeError();
    if (*eos)
      if (Error error = builder.addEos(**eos, "eos_token"))
        return error;
    if (const json::Value *value = member(generation, "eos_token_id")) {
      const json::Array one{*value};
      const json::Array *ids = value->getAsArray();
      for (const json::Value &id : ids ? *ids : one) {
        if (!integer(id))
          return inputError(files.generationConfig->path,
                            "eos_token_id is not an integer");
        if (Error error = builder.addEos(*integer(id), "eos_token_id"))
          return error;
      }
    }
    if (builder.spec().eosIds.empty())
      if (const std::optional<uint32_t> id = builder.find(rt::endMarker))
        return builder.addEos(*id, "eos_token");
    return Error::success();
  }

  /// A string, or the one named "default" of several.
  static StringRef chatTemplateOf(const json::Object &config) {
    const json::Value *value = member(config, "chat_template");
    if (!value)
      return {};
    if (const json::Array *array = value->getAsArray())
      for (const json::Value &element : *array)
        if (const json::Object *object = element.getAsObject())
          if (object->getString("name") == StringRef("default"))
            return object->getString("template").value_or("");
    return value->getAsString().value_or("");
  }

  const TokenizerTexts &files;
  StringRef path;
  TokenizerBuilder builder;
  std::string templateBos;
};

} // namespace

Expected<TokenizerSpec> readTokenizerTexts(const TokenizerTexts &files) {
  return FolderReader(files).read();
}

Expected<TokenizerSpec> readTokenizerFolder(StringRef folder) {
  std::vector<std::unique_ptr<InputFile>> opened;
  const auto load = [&](StringRef name,
                        bool required) -> Expected<std::optional<NamedText>> {
    SmallString<256> path(folder);
    sys::path::append(path, name);
    if (!required && !sys::fs::exists(path))
      return std::nullopt;
    Expected<InputFile> file = InputFile::open(path, maxTextFileBytes);
    if (!file)
      return file.takeError();
    opened.push_back(std::make_unique<InputFile>(std::move(*file)));
    return NamedText{opened.back()->path(), opened.back()->text()};
  };
  TokenizerTexts files;
  std::optional<NamedText> tokenizer;
  if (Error error = load("tokenizer.json", true).moveInto(tokenizer))
    return error;
  files.tokenizer = *tokenizer;
  if (Error error = load("tokenizer_config.json", false).moveInto(files.config))
    return error;
  if (Error error = load("generation_config.json", false)
                        .moveInto(files.generationConfig))
    return error;
  if (Error error =
          load("chat_template.jinja", false).moveInto(files.chatTemplate))
    return error;
  return readTokenizerTexts(files);
}

Error checkTokenizerFits(const TokenizerSpec &spec, uint64_t rows,
                         StringRef path) {
  if (spec.vocabSize() <= rows)
    return Error::success();
  return inputError(path, "the largest token id is " +
                              Twine(spec.vocabSize() - 1) +
                              ", but the model has only " + Twine(rows) +
                              " rows of embeddings");
}

} // namespace sputnik
