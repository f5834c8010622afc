//===- FuzzTokenizerJson.cpp - Any bytes as tokenizer.json ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FuzzInput.h"

#include "importer/TokenizerBlobWriter.h"
#include "importer/TokenizerReader.h"
#include "runtime/tokenizer/Tokenizer.h"

using namespace sputnik;

/// A file that is read gives a tokenizer that works.
static void requireTokenizer(const TokenizerSpec &spec) {
  llvm::Expected<llvm::SmallVector<char, 0>> blob = writeTokenizerBlob(spec);
  if (!blob)
    return requireOneLine(blob.takeError());
  std::string error;
  const auto tokenizer = rt::Tokenizer::open(
      std::as_bytes(std::span(blob->data(), blob->size())), error);
  require(tokenizer.has_value());
  const std::string text = "hello  World 123 <think>\n\xff aaaaaaaa \u4e2d";
  require(tokenizer->decode(tokenizer->encode(
              text, {.addBos = false, .addedTokens = false})) == text);
  (void)tokenizer->encode(text);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  TokenizerTexts texts;
  texts.tokenizer = {
      "x", llvm::StringRef(reinterpret_cast<const char *>(data), size)};
  llvm::Expected<TokenizerSpec> spec = readTokenizerTexts(texts);
  if (spec)
    requireTokenizer(*spec);
  else
    requireOneLine(spec.takeError());
  return 0;
}
