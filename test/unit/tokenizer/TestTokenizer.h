//===- TestTokenizer.h - Tokenizers made by tests ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_TOKENIZER_TESTTOKENIZER_H
#define SPUTNIK_TEST_UNIT_TOKENIZER_TESTTOKENIZER_H

#include "importer/TokenizerReader.h"
#include "runtime/tokenizer/Tokenizer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sputnik::test {

/// A tokenizer.json, and the files beside it, as a test describes them. Ids are
/// given in order: the 256 bytes are 0 to 255 (in the order of their values),
/// then one token per merge, then the added tokens.
struct TokenizerRecipe {
  /// Pairs of texts of plain ASCII without spaces.
  std::vector<std::pair<std::string, std::string>> merges;
  struct Added {
    std::string content;
    bool special = true;
    bool normalized = false;
  };
  std::vector<Added> added;
  rt::PreTokenizerKind kind = rt::PreTokenizerKind::SingleDigits;
  bool nfc = false;
  bool ignoreMerges = false;
  /// The files beside tokenizer.json; empty: not there.
  std::string config, generationConfig, chatTemplate;

  std::string json() const;
  llvm::Expected<TokenizerSpec> read() const;
};

/// The markers of R1, as added tokens.
std::vector<TokenizerRecipe::Added> r1Markers();
/// A tokenizer_config.json that names R1's BOS and EOS.
inline constexpr const char *r1Config =
    R"({"bos_token": "<｜begin▁of▁sentence｜>",
        "eos_token": {"__type": "AddedToken",
                      "content": "<｜end▁of▁sentence｜>"},
        "add_bos_token": true})";

/// A tokenizer and the aligned blob it lies in.
class LoadedTokenizer {
public:
  /// Fails the test when `spec` is an error or the blob does not open.
  explicit LoadedTokenizer(llvm::Expected<TokenizerSpec> spec);
  explicit LoadedTokenizer(const TokenizerRecipe &recipe)
      : LoadedTokenizer(recipe.read()) {}

  const rt::Tokenizer &operator*() const { return *tokenizer; }
  const rt::Tokenizer *operator->() const { return &*tokenizer; }
  std::vector<char> &bytes() { return blob; }

private:
  std::vector<char> blob;
  std::optional<rt::Tokenizer> tokenizer;
};

/// The one line of an error, or "" if there was none.
template <typename T> std::string errorOf(llvm::Expected<T> result) {
  if (result)
    return "";
  return llvm::toString(result.takeError());
}

/// The character that stands for a byte in tokenizer.json and GGUF.
std::string byteCharacter(int byte);

/// The text in JSON quotes.
std::string jsonString(const std::string &text);

/// The folder of shared test data, or nothing where it is absent.
std::optional<std::string> sharedData();

/// The whole of a file, unpacked if it is compressed by gzip; empty if it
/// cannot be read.
std::string readGzip(const std::string &path);

} // namespace sputnik::test

#endif // SPUTNIK_TEST_UNIT_TOKENIZER_TESTTOKENIZER_H
