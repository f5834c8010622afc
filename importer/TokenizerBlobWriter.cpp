//===- TokenizerBlobWriter.cpp - Lays out the tokenizer blob --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/TokenizerBlobWriter.h"

#include "runtime/tokenizer/BpeMerge.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace llvm;

namespace sputnik {
namespace {

/// No lookup may cost more slots than this; another seed is tried when a table
/// would need more.
constexpr uint32_t maxProbes = 256;
constexpr unsigned maxSeeds = 32;

Error fail(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

/// At most two thirds full.
size_t tableSize(size_t entries) {
  return PowerOf2Ceil(std::max<size_t>(2, entries + entries / 2 + 1));
}

class BlobWriter {
public:
  explicit BlobWriter(const TokenizerSpec &spec) : spec(spec) {}

  Expected<SmallVector<char, 0>> write() {
    fillHeader();
    if (Error error = makeTables())
      return error;
    header.rawTrie = makeTrie(/*normalized=*/false);
    header.normalizedTrie = makeTrie(/*normalized=*/true);
    if (Error error = makePool())
      return error;
    blob.resize(sizeof(header));
    header.tokenOffsets = append<uint32_t>(offsets);
    header.tokenBytes = append<char>({pool.data(), pool.size()});
    header.tokenFlags = append<uint8_t>(spec.flags);
    header.pieceSlots = append<rt::PieceSlot>(pieceSlots);
    header.pairSlots = append<rt::PairSlot>(pairSlots);
    header.trieNodes = append<rt::TrieNode>(nodes);
    header.trieEdges = append<rt::TrieEdge>(edges);
    const SmallVector<int32_t, 4> eos(spec.eosIds.begin(), spec.eosIds.end());
    header.eosIds = append<int32_t>(eos);
    header.chatNote =
        append<char>({spec.chatNote.data(), spec.chatNote.size()});
    header.totalBytes = blob.size();
    std::memcpy(blob.data(), &header, sizeof(header));
    return std::move(blob);
  }

private:
  void fillHeader() {
    std::copy(std::begin(rt::tokenizerBlobMagic),
              std::end(rt::tokenizerBlobMagic), header.magic);
    header.version = rt::tokenizerBlobVersion;
    header.headerBytes = sizeof(header);
    header.vocabSize = spec.vocabSize();
    header.preTokenizer = static_cast<uint32_t>(spec.preTokenizer);
    header.flags = (spec.nfc ? rt::NormalizeNfc : 0) |
                   (spec.addBos && spec.bosId ? rt::AddBos : 0);
    header.chatForm = spec.chatForm.bits;
    header.bosId = spec.bosId ? static_cast<int32_t>(*spec.bosId) : -1;
    header.padId = spec.padId ? static_cast<int32_t>(*spec.padId) : -1;
    llvm::copy(spec.byteIds, header.byteIds);
  }

  Error makeTables() {
    for (unsigned attempt = 0; attempt < maxSeeds; ++attempt) {
      header.hashSeed = 0x5370'7574'6e69'6b00 + attempt;
      if (makePairTable()) {
        if (pieces.empty())
          choosePieces();
        if (makePieceTable())
          return Error::success();
      }
    }
    return fail("the vocabulary's hashes collide");
  }

  bool makePairTable() {
    pairSlots.assign(tableSize(spec.merges.size()), {rt::noToken, 0, 0, 0});
    header.pairProbes = 0;
    for (const auto &[rank, merge] : enumerate(spec.merges)) {
      const uint64_t hash =
          rt::hashPair(merge.left, merge.right, header.hashSeed);
      const std::optional<uint32_t> probe =
          freeSlot(pairSlots.size(), hash, [&](size_t slot) {
            return pairSlots[slot].left == rt::noToken;
          });
      if (!probe)
        return false;
      pairSlots[(hash + *probe) & (pairSlots.size() - 1)] = {
          merge.left, merge.right, static_cast<uint32_t>(rank), merge.merged};
      header.pairProbes = std::max(header.pairProbes, *probe + 1);
    }
    return true;
  }

  rt::PairMerge lookupPair(uint32_t left, uint32_t right) const {
    const uint64_t hash = rt::hashPair(left, right, header.hashSeed);
    for (uint32_t probe = 0; probe < header.pairProbes; ++probe) {
      const rt::PairSlot &slot =
          pairSlots[(hash + probe) & (pairSlots.size() - 1)];
      if (slot.left == left && slot.right == right)
        return {slot.rank, slot.merged};
      if (slot.left == rt::noToken)
        break;
    }
    return {};
  }

  /// The tokens that a piece becomes without merging: those that merging would
  /// make of their own bytes. The others need the merges to be run.
  void choosePieces() {
    rt::BpeMerger merger;
    std::vector<uint32_t> symbols;
    for (uint32_t id = 0; id < spec.vocabSize(); ++id) {
      if (!spec.mergeable[id])
        continue;
      if (!spec.ignoreMerges) {
        symbols.clear();
        for (char c : spec.tokens[id])
          symbols.push_back(spec.byteIds[static_cast<uint8_t>(c)]);
        merger.merge(symbols, [&](uint32_t left, uint32_t right) {
          return lookupPair(left, right);
        });
        if (symbols.size() != 1 || symbols[0] != id)
          continue;
      }
      pieces.push_back(id);
      header.maxPieceBytes = std::max(
          header.maxPieceBytes, static_cast<uint32_t>(spec.tokens[id].size()));
    }
  }

  bool makePieceTable() {
    pieceSlots.assign(tableSize(pieces.size()), {0, rt::noToken});
    header.pieceProbes = 0;
    for (uint32_t id : pieces) {
      const std::string &bytes = spec.tokens[id];
      const uint64_t hash =
          rt::hashPiece(bytes.data(), bytes.size(), header.hashSeed);
      const std::optional<uint32_t> probe =
          freeSlot(pieceSlots.size(), hash, [&](size_t slot) {
            return pieceSlots[slot].id == rt::noToken;
          });
      if (!probe)
        return false;
      pieceSlots[(hash + *probe) & (pieceSlots.size() - 1)] = {
          rt::pieceTag(hash), id};
      header.pieceProbes = std::max(header.pieceProbes, *probe + 1);
    }
    return true;
  }

  static std::optional<uint32_t> freeSlot(size_t slots, uint64_t hash,
                                          function_ref<bool(size_t)> isFree) {
    for (uint32_t probe = 0; probe < std::min<size_t>(maxProbes, slots);
         ++probe)
      if (isFree((hash + probe) & (slots - 1)))
        return probe;
    return std::nullopt;
  }

  /// Appends the trie of one kind of added tokens and returns its root. Goes
  /// level by level over the sorted tokens, so a node's edges lie together.
  uint32_t makeTrie(bool normalized) {
    std::vector<std::pair<StringRef, uint32_t>> tokens;
    for (const TokenizerSpec::AddedToken &token : spec.addedTokens)
      if (token.normalized == normalized)
        tokens.push_back({spec.tokens[token.id], token.id});
    if (tokens.empty())
      return rt::noToken;
    llvm::sort(tokens);
    struct Range {
      uint32_t node;
      size_t begin, end, depth;
    };
    const auto root = static_cast<uint32_t>(nodes.size());
    nodes.push_back({0, 0, rt::noToken});
    std::vector<Range> queue{{root, 0, tokens.size(), 0}};
    for (size_t next = 0; next < queue.size(); ++next) {
      auto [node, begin, end, depth] = queue[next];
      nodes[node].firstEdge = static_cast<uint32_t>(edges.size());
      // The shortest of tokens with one beginning sorts first.
      if (tokens[begin].first.size() == depth)
        nodes[node].id = tokens[begin++].second;
      while (begin < end) {
        const char label = tokens[begin].first[depth];
        size_t groupEnd = begin + 1;
        while (groupEnd < end && tokens[groupEnd].first[depth] == label)
          ++groupEnd;
        const auto child = static_cast<uint32_t>(nodes.size());
        nodes.push_back({0, 0, rt::noToken});
        edges.push_back({static_cast<uint8_t>(label), child});
        ++nodes[node].edgeCount;
        queue.push_back({child, begin, groupEnd, depth + 1});
        begin = groupEnd;
      }
    }
    return root;
  }

  Error makePool() {
    for (const std::string &token : spec.tokens) {
      offsets.push_back(static_cast<uint32_t>(pool.size()));
      if (pool.size() + token.size() > UINT32_MAX)
        return fail("the tokens have more than 4 GiB of text");
      pool += token;
    }
    offsets.push_back(static_cast<uint32_t>(pool.size()));
    return Error::success();
  }

  template <typename T> rt::BlobSection append(ArrayRef<T> elements) {
    blob.resize(alignTo(blob.size(), rt::tokenizerBlobAlignment));
    const rt::BlobSection section{blob.size(), elements.size()};
    const auto *bytes = reinterpret_cast<const char *>(elements.data());
    blob.append(bytes, bytes + elements.size() * sizeof(T));
    return section;
  }

  const TokenizerSpec &spec;
  rt::TokenizerBlobHeader header{};
  std::vector<rt::PairSlot> pairSlots;
  std::vector<uint32_t> pieces;
  std::vector<rt::PieceSlot> pieceSlots;
  std::vector<rt::TrieNode> nodes;
  std::vector<rt::TrieEdge> edges;
  std::vector<uint32_t> offsets;
  std::string pool;
  SmallVector<char, 0> blob;
};

} // namespace

Expected<SmallVector<char, 0>> writeTokenizerBlob(const TokenizerSpec &spec) {
  return BlobWriter(spec).write();
}

} // namespace sputnik
