//===- FuzzEncode.cpp - Any bytes as text for a tokenizer -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/TokenizerBlobWriter.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/tokenizer/Utf8Stream.h"

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

using namespace sputnik;

static void require(bool promise) {
  if (!promise)
    __builtin_trap();
}

/// All bytes, merges of some of them and a few added tokens.
static TokenizerSpec makeSpec(rt::PreTokenizerKind kind, bool nfc) {
  TokenizerSpec spec;
  const auto add = [&](const std::string &text, uint8_t flags) {
    spec.tokens.push_back(text);
    spec.flags.push_back(rt::TokenPresent | flags);
    spec.mergeable.push_back(!(flags & rt::TokenAdded));
    return static_cast<uint32_t>(spec.tokens.size() - 1);
  };
  for (uint32_t byte = 0; byte < 256; ++byte)
    spec.byteIds[byte] = add(std::string(1, static_cast<char>(byte)), 0);
  const auto merge = [&](uint32_t left, uint32_t right) {
    spec.merges.push_back(
        {left, right, add(spec.tokens[left] + spec.tokens[right], 0)});
    return spec.merges.back().merged;
  };
  const uint32_t aa = merge('a', 'a'), ab = merge('a', 'b');
  merge(aa, aa);
  merge(ab, aa);
  merge(' ', 'a');
  merge(' ', ' ');
  merge(0xe4, 0xb8);
  merge('\r', '\n');
  for (const char *text : {"<think>", "</think>", "<｜User｜>", "<", "<t"})
    spec.addedTokens.push_back(
        {add(text, rt::TokenAdded), /*normalized=*/text[1] == '\0'});
  spec.preTokenizer = kind;
  spec.nfc = nfc;
  return spec;
}

/// A tokenizer and the blob that it lies in.
struct Fixture {
  explicit Fixture(rt::PreTokenizerKind kind, bool nfc)
      : nfc(nfc), blob(llvm::cantFail(writeTokenizerBlob(makeSpec(kind, nfc)))),
        tokenizer(rt::Tokenizer::open(
            std::as_bytes(std::span(blob.data(), blob.size())), error)) {
    require(tokenizer.has_value());
  }
  bool nfc;
  llvm::SmallVector<char, 0> blob;
  std::string error;
  std::optional<rt::Tokenizer> tokenizer;
};

static void requireEncodes(const Fixture &fixture, std::string_view text) {
  const rt::Tokenizer &tokenizer = *fixture.tokenizer;
  const std::vector<int32_t> ids = tokenizer.encode(text);
  const std::vector<int32_t> plain =
      tokenizer.encode(text, {.addBos = false, .addedTokens = false});
  require(ids.size() <= 4 * text.size() && plain.size() <= 4 * text.size());
  for (int32_t id : plain)
    require(!tokenizer.tokenBytes(id).starts_with("<") ||
            tokenizer.tokenBytes(id) == "<");
  const std::string decoded = tokenizer.decode(ids);
  if (!fixture.nfc)
    require(decoded == text && tokenizer.decode(plain) == text);
  // What has been normalized once stays as it is.
  const std::string normal = tokenizer.decode(plain);
  require(tokenizer.decode(tokenizer.encode(
              normal, {.addBos = false, .addedTokens = false})) == normal);
}

static void requireStreams(std::string_view bytes) {
  rt::Utf8Stream whole, parts;
  std::string expected = whole.push(bytes), got;
  expected += whole.finish();
  for (char byte : bytes)
    got += parts.push(std::string_view(&byte, 1));
  got += parts.finish();
  require(got == expected);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Fixture fixtures[] = {
      Fixture(rt::PreTokenizerKind::SingleDigits, true),
      Fixture(rt::PreTokenizerKind::DigitTriples, false),
      Fixture(rt::PreTokenizerKind::ThreeExpressions, false),
      Fixture(rt::PreTokenizerKind::ThreeExpressions, true)};
  const std::string_view text(reinterpret_cast<const char *>(data), size);
  for (const Fixture &fixture : fixtures)
    requireEncodes(fixture, text);
  requireStreams(text);
  return 0;
}
