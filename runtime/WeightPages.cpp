//===- WeightPages.cpp - Whose memory the weights lie in ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/WeightPages.h"

#include <algorithm>

namespace sputnik::rt {

static uint64_t roundUp(uint64_t at) {
  constexpr uint64_t page = WeightPages::pageBytes;
  return (at + page - 1) / page * page;
}

static uint64_t roundDown(uint64_t at) {
  return at / WeightPages::pageBytes * WeightPages::pageBytes;
}

WeightPages::WeightPages(std::span<const abi::WeightShare> shares,
                         uint64_t bytes)
    : bytes(bytes) {
  std::vector<Matrix> shared;
  for (const abi::WeightShare &share : shares)
    for (uint64_t layer = 0; layer < share.layers; ++layer)
      shared.push_back({share.offset + layer * share.layerStride, share.parts,
                        share.partBytes, share.unitBytes});
  std::sort(shared.begin(), shared.end(),
            [](const Matrix &a, const Matrix &b) { return a.begin < b.begin; });

  // Pages that a matrix shares with what is in none are the matrix's.
  uint64_t end = 0;
  const auto closeGap = [&](uint64_t begin) -> uint64_t {
    const uint64_t from = std::min(roundUp(end), bytes);
    const uint64_t to = begin == bytes ? bytes : roundDown(begin);
    if (from > to) // One page has both.
      return matrices.empty() ? 0 : matrices.back().endPage = nearestPage(end);
    if (!matrices.empty())
      matrices.back().endPage = from;
    if (from < to)
      matrices.push_back({from, 1, to - from, pageBytes, from, to});
    return to;
  };
  for (Matrix &matrix : shared) {
    matrix.firstPage = closeGap(matrix.begin);
    end = matrix.end();
    matrices.push_back(matrix);
  }
  closeGap(bytes);
}

uint64_t WeightPages::nearestPage(uint64_t at) const {
  return at == bytes ? bytes : std::min(roundDown(at + pageBytes / 2), bytes);
}

void WeightPages::forOwn(int64_t thread, int64_t threads,
                         const Visit &visit) const {
  for (const Matrix &matrix : matrices) {
    const uint64_t units =
        (matrix.partBytes + matrix.unitBytes - 1) / matrix.unitBytes;
    for (uint64_t part = 0; part < matrix.parts; ++part) {
      const auto boundOf = [&](int64_t of) {
        const uint64_t unit =
            units * static_cast<uint64_t>(of) / static_cast<uint64_t>(threads);
        const uint64_t at = matrix.begin + part * matrix.partBytes +
                            std::min(unit * matrix.unitBytes, matrix.partBytes);
        return at == matrix.begin ? matrix.firstPage
               : at == matrix.end()
                   ? matrix.endPage
                   : std::clamp(nearestPage(at), matrix.firstPage,
                                matrix.endPage);
      };
      const uint64_t begin = boundOf(thread), end = boundOf(thread + 1);
      if (begin < end)
        visit(begin, end);
    }
  }
}

void WeightPages::forLarge(int64_t nodes, const Visit &visit) const {
  constexpr uint64_t enough = 8 << 20;
  for (const Matrix &matrix : matrices)
    if (matrix.partBytes / static_cast<uint64_t>(nodes) >= enough)
      visit(matrix.firstPage, matrix.endPage);
}

} // namespace sputnik::rt
