//===- WeightPages.h - Whose memory the weights lie in ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_WEIGHTPAGES_H
#define SPUTNIK_RUNTIME_WEIGHTPAGES_H

#include "runtime/Abi.h"

#include <functional>
#include <span>
#include <vector>

namespace sputnik::rt {

/// Deals the pages of weights out to threads, so that a page is the thread's that
/// reads it in decode. A thread that is the first to touch its pages has them in
/// the memory of its node.
class WeightPages {
public:
  static constexpr uint64_t pageBytes = 4096;

  /// Of weights of `bytes`, of which threads share what `shares` say.
  WeightPages(std::span<const abi::WeightShare> shares, uint64_t bytes);

  /// Bytes of the weights.
  uint64_t size() const { return bytes; }

  /// Calls `visit` with the bytes of the weights from `begin` to `end` for all
  /// ranges of pages of one of `threads` threads, in ascending order. `begin` is
  /// at a page; `end` too, unless the weights end there. Every page is one
  /// thread's: the one's that has more of it, where two have a part. What is in no
  /// share is dealt out evenly.
  using Visit = std::function<void(uint64_t begin, uint64_t end)>;
  void forOwn(int64_t thread, int64_t threads, const Visit &visit) const;

  /// Calls `visit` with the whole pages of all runs of matrices of which each of
  /// `nodes` nodes reads so much in one piece that large pages, of which some are
  /// on a wrong node, are better than small ones.
  void forLarge(int64_t nodes, const Visit &visit) const;

private:
  /// A layer of a weight, or whole pages that have nothing of one.
  struct Matrix {
    uint64_t begin, parts, partBytes, unitBytes;
    /// The pages that threads have for what they read of it.
    uint64_t firstPage = 0, endPage = 0;

    uint64_t end() const { return begin + parts * partBytes; }
  };
  /// Threads' bounds are rounded to pages.
  uint64_t nearestPage(uint64_t at) const;

  uint64_t bytes;               ///< Of the weights.
  std::vector<Matrix> matrices; ///< Ascending; their pages leave no gaps.
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_WEIGHTPAGES_H
