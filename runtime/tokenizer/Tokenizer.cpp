//===- Tokenizer.cpp - Text to token ids and back -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/Tokenizer.h"

#include "runtime/tokenizer/BpeMerge.h"
#include "runtime/tokenizer/Nfc.h"
#include "runtime/tokenizer/PreTokenizer.h"

#include <algorithm>
#include <bit>

namespace sputnik::rt {
namespace {

/// Makes `out` the section's elements; false if they are not inside the blob.
template <typename T>
bool openSection(std::span<const std::byte> blob, const BlobSection &section,
                 std::span<const T> &out) {
  if (section.offset > blob.size() ||
      section.offset % tokenizerBlobAlignment != 0 ||
      section.count > (blob.size() - section.offset) / sizeof(T))
    return false;
  out = {reinterpret_cast<const T *>(blob.data() + section.offset),
         static_cast<size_t>(section.count)};
  return true;
}

bool isTable(size_t slots, uint32_t probes) {
  return std::has_single_bit(slots) && probes <= slots;
}

} // namespace

std::optional<Tokenizer> Tokenizer::open(std::span<const std::byte> blob,
                                         std::string &error) {
  const auto fail = [&](const char *what) {
    error = std::string("the embedded tokenizer is damaged: ") + what;
    return std::nullopt;
  };
  if (blob.size() < sizeof(TokenizerBlobHeader))
    return fail("it is shorter than its header");
  if (reinterpret_cast<uintptr_t>(blob.data()) % tokenizerBlobAlignment != 0)
    return fail("it is not aligned");
  Tokenizer t;
  const auto *header =
      reinterpret_cast<const TokenizerBlobHeader *>(blob.data());
  t.header = header;
  if (!std::equal(std::begin(header->magic), std::end(header->magic),
                  tokenizerBlobMagic))
    return fail("it does not begin with its magic bytes");
  if (header->version != tokenizerBlobVersion ||
      header->headerBytes != sizeof(TokenizerBlobHeader))
    return fail("it was written by another version of the compiler");
  if (header->totalBytes != blob.size())
    return fail("its size is not the size in its header");
  if (!openSection(blob, header->tokenOffsets, t.offsets) ||
      !openSection(blob, header->tokenBytes, t.bytes) ||
      !openSection(blob, header->tokenFlags, t.flags) ||
      !openSection(blob, header->pieceSlots, t.pieces) ||
      !openSection(blob, header->pairSlots, t.pairs) ||
      !openSection(blob, header->trieNodes, t.nodes) ||
      !openSection(blob, header->trieEdges, t.edges) ||
      !openSection(blob, header->eosIds, t.eos) ||
      !openSection(blob, header->chatNote, t.note))
    return fail("a section lies outside of it");
  if (header->vocabSize > static_cast<uint32_t>(INT32_MAX) ||
      t.flags.size() != header->vocabSize ||
      t.offsets.size() != size_t{header->vocabSize} + 1)
    return fail("the sizes of its sections disagree");
  if (!isTable(t.pieces.size(), header->pieceProbes) ||
      !isTable(t.pairs.size(), header->pairProbes))
    return fail("a hash table has a wrong size");
  if (header->preTokenizer >= numPreTokenizerKinds ||
      (header->flags & ~allTokenizerFlags))
    return fail("its header asks for something unknown");
  const auto isId = [&](uint32_t id) { return id < header->vocabSize; };
  if (!std::all_of(std::begin(header->byteIds), std::end(header->byteIds),
                   isId))
    return fail("a byte has no token");
  for (int32_t id : t.eos)
    if (!isId(static_cast<uint32_t>(id)))
      return fail("an end-of-sequence id is outside the vocabulary");
  if ((header->bosId != -1 && !isId(static_cast<uint32_t>(header->bosId))) ||
      (header->padId != -1 && !isId(static_cast<uint32_t>(header->padId))))
    return fail("a special id is outside the vocabulary");
  return t;
}

uint8_t Tokenizer::flagsOf(int32_t id) const {
  return static_cast<uint32_t>(id) < flags.size()
             ? flags[static_cast<uint32_t>(id)]
             : uint8_t{0};
}

std::string_view Tokenizer::tokenBytes(int32_t id) const {
  if (static_cast<uint32_t>(id) >= header->vocabSize)
    return {};
  const uint32_t begin = offsets[static_cast<uint32_t>(id)];
  const uint32_t end = offsets[static_cast<uint32_t>(id) + 1];
  if (begin > end || end > bytes.size())
    return {};
  return {bytes.data() + begin, end - begin};
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (int32_t id : ids)
    text += tokenBytes(id);
  return text;
}

bool Tokenizer::isEos(int32_t id) const {
  return std::find(eos.begin(), eos.end(), id) != eos.end();
}

std::optional<int32_t> Tokenizer::bosId() const {
  return header->bosId < 0 ? std::nullopt : std::optional(header->bosId);
}

const TrieNode *Tokenizer::node(uint32_t index) const {
  return index < nodes.size() ? &nodes[index] : nullptr;
}

const TrieEdge *Tokenizer::edge(const TrieNode &from, uint8_t label) const {
  if (from.firstEdge > edges.size() ||
      from.edgeCount > edges.size() - from.firstEdge)
    return nullptr;
  const auto span = edges.subspan(from.firstEdge, from.edgeCount);
  const auto found = std::lower_bound(
      span.begin(), span.end(), label,
      [](const TrieEdge &e, uint32_t value) { return e.label < value; });
  return found != span.end() && found->label == label ? &*found : nullptr;
}

Tokenizer::TrieMatch
Tokenizer::longestMatch(uint32_t root, std::string_view text, size_t at) const {
  TrieMatch match;
  const TrieNode *current = node(root);
  for (size_t i = at; current && i < text.size(); ++i) {
    const TrieEdge *next = edge(*current, static_cast<uint8_t>(text[i]));
    if (!next)
      break;
    current = node(next->target);
    if (current && current->id < header->vocabSize)
      match = {current->id, i + 1 - at};
  }
  return match;
}

std::optional<int32_t> Tokenizer::addedToken(std::string_view content) const {
  for (uint32_t root : {header->rawTrie, header->normalizedTrie}) {
    const TrieMatch match = longestMatch(root, content, 0);
    if (match.size != 0 && match.size == content.size())
      return static_cast<int32_t>(match.id);
  }
  return std::nullopt;
}

Tokenizer::FirstBytes Tokenizer::firstBytes(uint32_t root) const {
  FirstBytes result{};
  if (const TrieNode *start = node(root))
    for (int byte = 0; byte < 256; ++byte)
      result[byte] = edge(*start, static_cast<uint8_t>(byte)) != nullptr;
  return result;
}

/// The state of one call of encode.
class Tokenizer::Encoder {
public:
  Encoder(const Tokenizer &tokenizer, std::vector<int32_t> &out)
      : t(tokenizer), h(*tokenizer.header), out(out) {}

  void encode(std::string_view text, bool addedTokens) {
    if (!addedTokens)
      return encodeNormalized(normalize(text), false);
    splitAtAddedTokens(h.rawTrie, text, [&](std::string_view part) {
      encodeNormalized(normalize(part), true);
    });
  }

private:
  std::string_view normalize(std::string_view text) {
    return h.flags & NormalizeNfc ? normalizeNfc(text, normalized) : text;
  }

  void encodeNormalized(std::string_view text, bool addedTokens) {
    if (!addedTokens)
      return encodePieces(text);
    splitAtAddedTokens(h.normalizedTrie, text,
                       [&](std::string_view part) { encodePieces(part); });
  }

  /// Emits the added tokens of one trie, leftmost and longest, and gives what
  /// lies between them to `callback`.
  template <typename Callback>
  void splitAtAddedTokens(uint32_t root, std::string_view text,
                          Callback &&callback) {
    if (root == noToken)
      return callback(text);
    const FirstBytes first = t.firstBytes(root);
    size_t gap = 0;
    for (size_t at = 0; at < text.size();) {
      if (!first[static_cast<uint8_t>(text[at])]) {
        ++at;
        continue;
      }
      const TrieMatch match = t.longestMatch(root, text, at);
      if (match.size == 0) {
        ++at;
        continue;
      }
      if (gap < at)
        callback(text.substr(gap, at - gap));
      out.push_back(static_cast<int32_t>(match.id));
      gap = at += match.size;
    }
    if (gap < text.size())
      callback(text.substr(gap));
  }

  void encodePieces(std::string_view text) {
    forEachPiece(static_cast<PreTokenizerKind>(h.preTokenizer), text,
                 [&](std::string_view piece) { encodePiece(piece); });
  }

  void encodePiece(std::string_view piece) {
    if (piece.size() == 1) {
      out.push_back(
          static_cast<int32_t>(h.byteIds[static_cast<uint8_t>(piece[0])]));
      return;
    }
    if (piece.size() <= h.maxPieceBytes) {
      const uint32_t id = lookupPiece(piece);
      if (id != noToken) {
        out.push_back(static_cast<int32_t>(id));
        return;
      }
    }
    symbols.clear();
    for (char c : piece)
      symbols.push_back(h.byteIds[static_cast<uint8_t>(c)]);
    merger.merge(symbols, [&](uint32_t left, uint32_t right) {
      return lookupPair(left, right);
    });
    out.insert(out.end(), symbols.begin(), symbols.end());
  }

  uint32_t lookupPiece(std::string_view piece) const {
    const uint64_t hash = hashPiece(piece.data(), piece.size(), h.hashSeed);
    const uint32_t tag = pieceTag(hash);
    const size_t mask = t.pieces.size() - 1;
    for (uint32_t probe = 0; probe < h.pieceProbes; ++probe) {
      const PieceSlot &slot = t.pieces[(hash + probe) & mask];
      if (slot.id == noToken)
        break;
      if (slot.tag == tag &&
          t.tokenBytes(static_cast<int32_t>(slot.id)) == piece)
        return slot.id;
    }
    return noToken;
  }

  PairMerge lookupPair(uint32_t left, uint32_t right) const {
    const uint64_t hash = hashPair(left, right, h.hashSeed);
    const size_t mask = t.pairs.size() - 1;
    for (uint32_t probe = 0; probe < h.pairProbes; ++probe) {
      const PairSlot &slot = t.pairs[(hash + probe) & mask];
      if (slot.left == noToken)
        break;
      if (slot.left == left && slot.right == right && slot.merged < h.vocabSize)
        return {slot.rank, slot.merged};
    }
    return {};
  }

  const Tokenizer &t;
  const TokenizerBlobHeader &h;
  std::vector<int32_t> &out;
  std::string normalized;
  std::vector<uint32_t> symbols;
  BpeMerger merger;
};

std::vector<int32_t> Tokenizer::encode(std::string_view text,
                                       EncodeOptions options) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  if (options.addBos && header->bosId >= 0)
    ids.push_back(header->bosId);
  Encoder(*this, ids).encode(text, options.addedTokens);
  return ids;
}

} // namespace sputnik::rt
