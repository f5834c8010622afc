//===- Tokenizer.h - Text to token ids and back -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_TOKENIZER_H
#define SPUTNIK_RUNTIME_TOKENIZER_TOKENIZER_H

#include "runtime/tokenizer/TokenizerBlob.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sputnik::rt {

/// How Tokenizer::encode reads a text.
struct EncodeOptions {
  /// Begin with the BOS token, if the tokenizer has one.
  bool addBos = false;
  /// Recognise added tokens such as `<think>` written out in the text. Off for
  /// text of a user, who must not be able to write control tokens.
  bool addedTokens = true;
};

/// A byte-level BPE tokenizer: a view of a blob that the compiler wrote. Cheap
/// to open and to copy; the blob must outlive it. All functions are safe to
/// call from several threads at once.
class Tokenizer {
public:
  /// Checks the blob's header and the bounds of its sections; what they hold is
  /// checked where it is used. The blob begins at a multiple of
  /// tokenizerBlobAlignment bytes. On failure returns nothing and sets `error`
  /// to one line.
  static std::optional<Tokenizer> open(std::span<const std::byte> blob,
                                       std::string &error);

  /// The ids of `text`, which is at most maxTextBytes long and need not be
  /// UTF-8. Takes linear time, but for pieces of many bytes: O(n log n).
  std::vector<int32_t> encode(std::string_view text,
                              EncodeOptions options = {}) const;
  static constexpr size_t maxTextBytes = size_t{1} << 30;

  /// The bytes of the tokens put together. Ids without a token give none.
  std::string decode(std::span<const int32_t> ids) const;

  /// The bytes of one token; empty for ids without a token.
  std::string_view tokenBytes(int32_t id) const;

  /// Whether the vocabulary has a token of this id.
  bool hasToken(int32_t id) const { return flagsOf(id) & TokenPresent; }
  /// Whether `id` is a control token, which is not part of the text shown.
  bool isSpecial(int32_t id) const { return flagsOf(id) & TokenSpecial; }
  /// Whether generation ends at `id`.
  bool isEos(int32_t id) const;
  /// The id of the added token that is written `content`.
  std::optional<int32_t> addedToken(std::string_view content) const;

  /// The largest id plus one. A model may have more rows of logits; rows
  /// without a token must never be sampled.
  int32_t vocabSize() const { return static_cast<int32_t>(header->vocabSize); }
  std::optional<int32_t> bosId() const;
  /// Ids that end the generation, the tokenizer's EOS token first.
  std::span<const int32_t> eosIds() const { return eos; }
  /// Whether text that is not a chat begins with the BOS token.
  bool addsBos() const { return header->flags & AddBos; }

  /// ChatForm::bits of the model's chat template.
  uint32_t chatFormBits() const { return header->chatForm; }
  /// Why there is no chat form; empty if there is one.
  std::string_view chatNote() const { return {note.data(), note.size()}; }

private:
  class Encoder;

  Tokenizer() = default;
  uint8_t flagsOf(int32_t id) const;

  /// The longest added token that `text` has at `at`, from the trie with this
  /// root.
  struct TrieMatch {
    uint32_t id = noToken;
    size_t size = 0;
  };
  TrieMatch longestMatch(uint32_t root, std::string_view text, size_t at) const;
  const TrieNode *node(uint32_t index) const;
  const TrieEdge *edge(const TrieNode &from, uint8_t label) const;

  /// Which bytes an added token can begin with.
  using FirstBytes = std::array<bool, 256>;
  FirstBytes firstBytes(uint32_t root) const;

  const TokenizerBlobHeader *header = nullptr;
  std::span<const uint32_t> offsets;
  std::span<const char> bytes;
  std::span<const uint8_t> flags;
  std::span<const PieceSlot> pieces;
  std::span<const PairSlot> pairs;
  std::span<const TrieNode> nodes;
  std::span<const TrieEdge> edges;
  std::span<const int32_t> eos;
  std::span<const char> note;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_TOKENIZER_H
