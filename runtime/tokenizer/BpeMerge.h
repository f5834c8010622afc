//===- BpeMerge.h - Byte-pair merging of one piece --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_BPEMERGE_H
#define SPUTNIK_RUNTIME_TOKENIZER_BPEMERGE_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace sputnik::rt {

/// What a pair of neighbouring symbols merges into.
struct PairMerge {
  static constexpr uint32_t never = 0xffffffff;
  uint32_t rank = never; ///< `never`: the pair does not merge.
  uint32_t merged = 0;
};

/// Merges symbols until no pair of neighbours merges: always the pair of the
/// lowest rank, the leftmost of equal pairs. Keeps its working memory between
/// calls.
class BpeMerger {
public:
  /// Rewrites `symbols` in place. `lookup(left, right)` returns a PairMerge.
  /// Takes O(n log n) for n symbols; n is below 2^32.
  template <typename Lookup>
  void merge(std::vector<uint32_t> &symbols, Lookup &&lookup) {
    if (symbols.size() <= scanLimit)
      mergeByScan(symbols, lookup);
    else
      mergeByHeap(symbols, lookup);
  }

private:
  /// Up to here looking at all pairs for the lowest beats keeping a heap.
  static constexpr size_t scanLimit = 24;

  template <typename Lookup>
  void mergeByScan(std::vector<uint32_t> &symbols, Lookup &&lookup) {
    size_t count = symbols.size();
    PairMerge pairs[scanLimit];
    for (size_t i = 0; i + 1 < count; ++i)
      pairs[i] = lookup(symbols[i], symbols[i + 1]);
    while (count > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < count; ++i)
        if (pairs[i].rank < pairs[best].rank)
          best = i;
      if (pairs[best].rank == PairMerge::never)
        break;
      symbols[best] = pairs[best].merged;
      --count;
      for (size_t i = best + 1; i < count; ++i) {
        symbols[i] = symbols[i + 1];
        pairs[i - 1] = pairs[i];
      }
      if (best + 1 < count)
        pairs[best] = lookup(symbols[best], symbols[best + 1]);
      if (best > 0)
        pairs[best - 1] = lookup(symbols[best - 1], symbols[best]);
    }
    symbols.resize(count);
  }

  /// A symbol of the list that the heap works on; `pair` is what it and its
  /// successor merge into.
  struct Node {
    uint32_t symbol;
    uint32_t previous, next;
    PairMerge pair;
  };

  template <typename Lookup>
  void mergeByHeap(std::vector<uint32_t> &symbols, Lookup &&lookup) {
    constexpr uint32_t none = 0xffffffff;
    const auto count = static_cast<uint32_t>(symbols.size());
    nodes.resize(count);
    heap.clear();
    for (uint32_t i = 0; i < count; ++i) {
      PairMerge pair;
      if (i + 1 < count)
        pair = lookup(symbols[i], symbols[i + 1]);
      nodes[i] = {symbols[i], i == 0 ? none : i - 1,
                  i + 1 < count ? i + 1 : none, pair};
      if (pair.rank != PairMerge::never)
        heap.push_back(heapEntry(pair.rank, i));
    }
    const auto later = std::greater<uint64_t>();
    std::make_heap(heap.begin(), heap.end(), later);
    const auto setPair = [&](uint32_t at) {
      Node &node = nodes[at];
      node.pair = node.next == none
                      ? PairMerge()
                      : lookup(node.symbol, nodes[node.next].symbol);
      if (node.pair.rank != PairMerge::never) {
        heap.push_back(heapEntry(node.pair.rank, at));
        std::push_heap(heap.begin(), heap.end(), later);
      }
    };
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), later);
      const uint64_t entry = heap.back();
      heap.pop_back();
      const auto at = static_cast<uint32_t>(entry);
      Node &node = nodes[at];
      // A pair that changed after it was pushed has left a stale entry.
      if (node.pair.rank != entry >> 32)
        continue;
      Node &absorbed = nodes[node.next];
      node.symbol = node.pair.merged;
      absorbed.pair = PairMerge();
      node.next = absorbed.next;
      if (node.next != none)
        nodes[node.next].previous = at;
      setPair(at);
      if (node.previous != none)
        setPair(node.previous);
    }
    size_t kept = 0;
    for (uint32_t at = 0; at != none; at = nodes[at].next)
      symbols[kept++] = nodes[at].symbol;
    symbols.resize(kept);
  }

  static uint64_t heapEntry(uint32_t rank, uint32_t at) {
    return static_cast<uint64_t>(rank) << 32 | at;
  }

  std::vector<Node> nodes;
  std::vector<uint64_t> heap;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_BPEMERGE_H
