//===- TestTokenizer.cpp - Tokenizers made by tests -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestTokenizer.h"

#include "importer/TokenizerBlobWriter.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <zlib.h>

namespace sputnik::test {
namespace {

const char *const qwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| )"
    R"(?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char *const llamaPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| )"
    R"(?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char *const deepSeekPatterns[] = {
    R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
    "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
    "\\s*[\r\n]+|\\s+(?!\\S)|\\s+"};

std::string splitJson(const char *pattern) {
  return R"({"type": "Split", "pattern": {"Regex": )" + jsonString(pattern) +
         R"(}, "behavior": "Isolated", "invert": false}, )";
}

} // namespace

std::string byteCharacter(int byte) {
  int moved = 0x100;
  for (int i = 0; i < byte; ++i)
    moved +=
        !((i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i <= 0xac) || i >= 0xae);
  const bool printable = (byte >= 0x21 && byte <= 0x7e) ||
                         (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const int codePoint = printable ? byte : moved;
  if (codePoint < 0x80)
    return std::string(1, static_cast<char>(codePoint));
  return {static_cast<char>(0xc0 | codePoint >> 6),
          static_cast<char>(0x80 | (codePoint & 0x3f))};
}

std::string jsonString(const std::string &text) {
  std::string out;
  llvm::raw_string_ostream(out) << llvm::json::Value(text);
  return out;
}

std::string TokenizerRecipe::json() const {
  std::string vocabulary, mergeList, addedList, splits;
  for (int byte = 0; byte < 256; ++byte)
    vocabulary += (byte ? ", " : "") + jsonString(byteCharacter(byte)) + ": " +
                  std::to_string(byte);
  int id = 256;
  for (const auto &[left, right] : merges) {
    vocabulary += ", " + jsonString(left + right) + ": " + std::to_string(id++);
    mergeList +=
        (mergeList.empty() ? "" : ", ") + jsonString(left + " " + right);
  }
  for (const Added &token : added)
    addedList += (addedList.empty() ? "" : ", ") +
                 (R"({"id": )" + std::to_string(id++) + R"(, "content": )" +
                  jsonString(token.content) + R"(, "special": )" +
                  (token.special ? "true" : "false") + R"(, "normalized": )" +
                  (token.normalized ? "true" : "false") + "}");
  if (kind == rt::PreTokenizerKind::ThreeExpressions)
    for (const char *pattern : deepSeekPatterns)
      splits += splitJson(pattern);
  else
    splits = splitJson(kind == rt::PreTokenizerKind::SingleDigits ? qwenPattern
                                                           : llamaPattern);
  return R"({"version": "1.0", "added_tokens": [)" + addedList +
         R"(], "normalizer": )" + (nfc ? R"({"type": "NFC"})" : "null") +
         R"(, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [)" +
         splits +
         R"({"type": "ByteLevel", "add_prefix_space": false, )"
         R"("use_regex": false}]}, "decoder": {"type": "ByteLevel"}, )"
         R"("model": {"type": "BPE", "ignore_merges": )" +
         (ignoreMerges ? "true" : "false") + R"(, "vocab": {)" + vocabulary +
         R"(}, "merges": [)" + mergeList + "]}}";
}

llvm::Expected<TokenizerSpec> TokenizerRecipe::read() const {
  const std::string text = json();
  TokenizerTexts files;
  files.tokenizer = {"tokenizer.json", text};
  if (!config.empty())
    files.config = {"tokenizer_config.json", config};
  if (!generationConfig.empty())
    files.generationConfig = {"generation_config.json", generationConfig};
  if (!chatTemplate.empty())
    files.chatTemplate = {"chat_template.jinja", chatTemplate};
  return readTokenizerTexts(files);
}

std::vector<TokenizerRecipe::Added> r1Markers() {
  return {{"<｜end▁of▁sentence｜>", true},
          {"<｜User｜>", false},
          {"<｜Assistant｜>", false},
          {"<｜begin▁of▁sentence｜>", true},
          {"<think>", false},
          {"</think>", false}};
}

LoadedTokenizer::LoadedTokenizer(llvm::Expected<TokenizerSpec> spec) {
  if (!spec) {
    ADD_FAILURE() << llvm::toString(spec.takeError());
    std::abort();
  }
  auto written = writeTokenizerBlob(*spec);
  if (!written) {
    ADD_FAILURE() << llvm::toString(written.takeError());
    std::abort();
  }
  // The allocator aligns to 16 bytes, which is what the blob asks for.
  blob.assign(written->begin(), written->end());
  std::string error;
  tokenizer = rt::Tokenizer::open(
      std::as_bytes(std::span(blob.data(), blob.size())), error);
  if (!tokenizer) {
    ADD_FAILURE() << error;
    std::abort();
  }
}

std::optional<std::string> sharedData() {
  const char *variable = std::getenv("SPUTNIK_SHARED_DATA");
  std::string folder =
      variable ? variable : std::string(SPUTNIK_SOURCE_DIR) + "/../shared/data";
  if (!llvm::sys::fs::is_directory(folder))
    return std::nullopt;
  return folder;
}

std::string readGzip(const std::string &path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file)
    return text;
  char part[1 << 16];
  for (int size = 0; (size = gzread(file, part, sizeof(part))) > 0;)
    text.append(part, static_cast<size_t>(size));
  gzclose(file);
  return text;
}

} // namespace sputnik::test
