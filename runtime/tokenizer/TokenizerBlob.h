//===- TokenizerBlob.h - The tokenizer inside an executable -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The compiler writes a tokenizer as one position-independent little-endian
// blob, and the executable uses it in place: nothing is parsed, hashed or
// allocated at start. This header is all that the writer
// (importer/TokenizerBlobWriter) and the reader (runtime/tokenizer/Tokenizer)
// share.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_RUNTIME_TOKENIZER_TOKENIZERBLOB_H
#define SPUTNIK_RUNTIME_TOKENIZER_TOKENIZERBLOB_H

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sputnik::rt {

static_assert(std::endian::native == std::endian::little,
              "tokenizer blobs are little-endian and used in place");

inline constexpr char tokenizerBlobMagic[8] = {'S', 'P', 'T', 'O',
                                               'K', 'E', 'N', 'S'};
/// Bumped whenever a structure below or a hash function changes.
inline constexpr uint32_t tokenizerBlobVersion = 1;
/// Where the blob and each of its sections begin.
inline constexpr size_t tokenizerBlobAlignment = 16;

/// Marks an empty slot, and a trie node at which no token ends.
inline constexpr uint32_t noToken = 0xffffffff;

/// How text is cut into the pieces that are merged on their own.
enum class PreTokenizerKind : uint32_t {
  SingleDigits = 0,     ///< Words, signs, and each digit alone.
  DigitTriples = 1,     ///< The same with up to three digits together.
  ThreeExpressions = 2, ///< By three expressions, one after the other.
};
inline constexpr uint32_t numPreTokenizerKinds = 3;

/// TokenizerBlobHeader::flags.
enum TokenizerFlags : uint32_t {
  /// Text is brought to normalization form C before it is cut.
  NormalizeNfc = 1u << 0,
  /// A prompt that is no chat begins with the BOS token.
  AddBos = 1u << 1,
};
inline constexpr uint32_t allTokenizerFlags = NormalizeNfc | AddBos;

/// Per id, in the section `tokenFlags`.
enum TokenFlags : uint8_t {
  /// The vocabulary has a token of this id.
  TokenPresent = 1u << 0,
  /// Recognised in text as a whole, never made by merging.
  TokenAdded = 1u << 1,
  /// A control token: not part of what a reader sees.
  TokenSpecial = 1u << 2,
};

/// `count` elements that begin `offset` bytes into the blob.
struct BlobSection {
  uint64_t offset;
  uint64_t count;
};

/// Open addressing with linear probing over the bytes of a piece.
struct PieceSlot {
  uint32_t tag; ///< Upper half of the hash.
  uint32_t id;  ///< noToken when the slot is empty.
};

/// Open addressing with linear probing over pairs of ids.
struct PairSlot {
  uint32_t left; ///< noToken when the slot is empty.
  uint32_t right;
  uint32_t rank; ///< Pairs of lower rank are merged first; ranks are distinct.
  uint32_t merged;
};

/// A node of the byte tries over added tokens. Its edges lie side by side in
/// ascending order of their labels.
struct TrieNode {
  uint32_t firstEdge;
  uint32_t edgeCount;
  uint32_t id; ///< The token that ends here, or noToken.
};

struct TrieEdge {
  uint32_t label; ///< A byte.
  uint32_t target;
};

struct TokenizerBlobHeader {
  char magic[8];
  uint32_t version;
  uint32_t headerBytes; ///< sizeof(TokenizerBlobHeader).
  uint64_t totalBytes;
  uint32_t vocabSize; ///< The largest id plus one.
  uint32_t preTokenizer;
  uint32_t flags;
  uint32_t chatForm;      ///< ChatForm::bits, see chat/ChatForm.h.
  int32_t bosId;          ///< -1: none.
  int32_t padId;          ///< -1: none.
  uint32_t maxPieceBytes; ///< Of the longest piece in `pieceSlots`.
  uint32_t pieceProbes;   ///< No lookup has to look at more slots than this.
  uint32_t pairProbes;
  /// Roots of the tries of the added tokens that are matched on the text as it
  /// is, and on the normalized text. noToken: no such tokens.
  uint32_t rawTrie;
  uint32_t normalizedTrie;
  uint32_t reserved;
  uint64_t hashSeed;
  uint32_t byteIds[256];    ///< The token of each single byte.
  BlobSection tokenOffsets; ///< uint32_t[vocabSize + 1] into tokenBytes.
  BlobSection tokenBytes;   ///< char[]: what each id decodes to.
  BlobSection tokenFlags;   ///< uint8_t[vocabSize] of TokenFlags.
  BlobSection pieceSlots;   ///< PieceSlot[power of two]: every piece that is
                            ///< one token as a whole.
  BlobSection pairSlots;    ///< PairSlot[power of two].
  BlobSection trieNodes;    ///< TrieNode[].
  BlobSection trieEdges;    ///< TrieEdge[].
  BlobSection eosIds;       ///< int32_t[]: generation ends at any of these.
  BlobSection chatNote;     ///< char[]: why there is no chat form.
};
static_assert(sizeof(TokenizerBlobHeader) == 1248);

namespace blob_detail {
/// Both halves of the 128-bit product, folded.
inline uint64_t foldedProduct(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
template <typename T> T loadAs(const char *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}
} // namespace blob_detail

/// The hash of a piece of `size` bytes.
inline uint64_t hashPiece(const char *bytes, size_t size, uint64_t seed) {
  using namespace blob_detail;
  constexpr uint64_t oddA = 0x9e3779b97f4a7c15, oddB = 0xd1b54a32d192ed03;
  uint64_t hash = seed ^ (size * oddB);
  for (; size > 8; bytes += 8, size -= 8)
    hash = foldedProduct(hash ^ loadAs<uint64_t>(bytes), oddA);
  uint64_t tail = 0;
  if (size >= 4)
    tail = loadAs<uint32_t>(bytes) |
           static_cast<uint64_t>(loadAs<uint32_t>(bytes + size - 4)) << 32;
  else if (size > 0)
    tail = static_cast<uint8_t>(bytes[0]) |
           static_cast<uint64_t>(static_cast<uint8_t>(bytes[size / 2])) << 8 |
           static_cast<uint64_t>(static_cast<uint8_t>(bytes[size - 1])) << 16;
  hash = foldedProduct(hash ^ tail, oddA);
  return foldedProduct(hash ^ seed, oddB);
}

/// The hash of the pair of ids `left`, `right`.
inline uint64_t hashPair(uint32_t left, uint32_t right, uint64_t seed) {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | right;
  return blob_detail::foldedProduct(key ^ seed, 0x9e3779b97f4a7c15);
}

/// The tag that a slot of `pieceSlots` keeps of a hash; the slot's index comes
/// from the hash's lower bits.
inline uint32_t pieceTag(uint64_t hash) {
  return static_cast<uint32_t>(hash >> 32);
}

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_TOKENIZERBLOB_H
