//===- Q4Quantizer.cpp - Rows of values in two levels of scales -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/Q4Quantizer.h"

#include "codegen/weights/WideCode.h"

#include <array>
#include <cmath>

// What a host contracts to fused operations would decide ties between scales.
#pragma STDC FP_CONTRACT OFF

using namespace llvm;

namespace sputnik {
namespace {

constexpr int64_t kBlock = r1::kQuantBlock;

/// Half a block.
typedef float Lanes __attribute__((vector_size(64)));
constexpr int kHalves = 2, kLanes = 16;

/// The largest magnitudes of even steps and of odd ones.
constexpr float kLargestStep[2] = {126, 127};

/// Adds halves, then halves of those, in one order for every host.
[[gnu::always_inline]] inline float sumOf(const Lanes &lanes) {
  float sums[kLanes];
  std::memcpy(sums, &lanes, sizeof(sums));
  for (int width = kLanes / 2; width; width /= 2)
    for (int i = 0; i < width; ++i)
      sums[i] += sums[i + width];
  return sums[0];
}

/// Half-way between neighbours of kQ4Table.
constexpr std::array<float, 15> kBorders = [] {
  std::array<float, 15> borders{};
  for (int i = 0; i < 15; ++i)
    borders[i] = 0.5f * (r1::kQ4Table[i] + r1::kQ4Table[i + 1]);
  return borders;
}();

/// A block's values, and what their errors count.
struct Block {
  Lanes values[kHalves];
  Lanes importance[kHalves];
  Lanes product[kHalves]; ///< Of the two.
  float extreme;          ///< The value of largest magnitude.
  /// The best scales with the table as it is, and with the table moved.
  float scales[2];
};

/// Sums over a block quantised with some scale, t being the table's values.
struct FitSums {
  float valueTable; ///< Of importance * value * t.
  float tableTable; ///< Of importance * t * t.

  /// What a scale takes away of the sum of importance * value^2.
  float gain(float scale) const {
    return scale * (2 * valueTable - scale * tableTable);
  }
};

[[gnu::always_inline]] inline FitSums fitTable(const Block &block,
                                               float inverse, float shift) {
  Lanes valueTable = {}, tableTable = {};
  for (int half = 0; half < kHalves; ++half) {
    const Lanes scaled = block.values[half] * inverse - shift;
    Lanes table = Lanes{} + static_cast<float>(r1::kQ4Table[0]);
    for (int i = 0; i < 15; ++i)
      table = scaled > kBorders[i]
                  ? Lanes{} + static_cast<float>(r1::kQ4Table[i + 1])
                  : table;
    table += shift;
    valueTable += block.product[half] * table;
    tableTable += block.importance[half] * table * table;
  }
  return {sumOf(valueTable), sumOf(tableTable)};
}

/// Takes the extreme near either end of the table. With what each value takes
/// from that, the block has a best scale, whose gain is the error that it takes
/// away.
SPUTNIK_WIDE void chooseScales(Block *blocks, size_t count) {
  for (Block *block = blocks; block != blocks + count; ++block)
    for (int moved = 0; moved < 2; ++moved) {
      const float shift = moved ? r1::kQ4Shift : 0;
      float best = 0, scale = 0;
      if (block->extreme != 0)
        for (int end = 0; end <= 15; end += 15)
          for (int offset = -8; offset <= 8; offset += 4) {
            const float inverse =
                (r1::kQ4Table[end] + shift + offset) / block->extreme;
            const FitSums sums = fitTable(*block, inverse, shift);
            const float gain =
                sums.valueTable * (sums.valueTable / sums.tableTable);
            if (gain > best) {
              best = gain;
              scale = sums.valueTable / sums.tableTable;
            }
          }
      block->scales[moved] = scale;
    }
}

/// Chooses the blocks' steps for a row's scale; gives the row's scale that is
/// best for what the blocks' values become with those.
SPUTNIK_WIDE float chooseSteps(const Block *blocks, size_t count,
                               float rowScale, int8_t *steps) {
  float valueTable = 0, tableTable = 0;
  for (size_t i = 0; i < count; ++i) {
    float best = 0;
    FitSums bestSums = {0, 0};
    steps[i] = 0;
    for (int moved = 0; moved < 2; ++moved) {
      float step =
          2 * std::nearbyint((blocks[i].scales[moved] / rowScale - moved) / 2) +
          moved;
      if (std::abs(step) > kLargestStep[moved])
        step = std::copysign(kLargestStep[moved], step);
      if (step == 0)
        continue;
      const float scale = step * rowScale;
      const FitSums sums =
          fitTable(blocks[i], 1 / scale, moved ? r1::kQ4Shift : 0);
      const float gain = sums.gain(scale);
      if (gain > best) {
        best = gain;
        bestSums = sums;
        steps[i] = static_cast<int8_t>(step);
      }
    }
    valueTable += steps[i] * bestSums.valueTable;
    tableTable += steps[i] * (steps[i] * bestSums.tableTable);
  }
  return tableTable > 0 ? valueTable / tableTable : 0;
}

SPUTNIK_WIDE void chooseNibbles(const Block *blocks, size_t count,
                                float rowScale, const int8_t *steps,
                                int8_t *nibbles) {
  typedef int32_t Indices __attribute__((vector_size(64)));
  for (size_t block = 0; block < count; ++block) {
    const int step = steps[block];
    const float inverse = step ? 1 / (step * rowScale) : 0;
    const float shift = step & 1 ? r1::kQ4Shift : 0;
    for (int half = 0; half < kHalves; ++half) {
      const Lanes scaled = blocks[block].values[half] * inverse - shift;
      Indices nibble = {};
      for (int i = 0; i < 15; ++i)
        nibble -= scaled > kBorders[i]; // True is -1.
      for (int i = 0; i < kLanes; ++i)
        *nibbles++ = static_cast<int8_t>(nibble[i]);
    }
  }
}

/// Splits a row, times `factor`, into blocks. The errors of large values count
/// more, with sqrt(mean square of the row + value^2).
void loadBlocks(ArrayRef<float> values, ArrayRef<float> importance,
                float factor, MutableArrayRef<Block> blocks) {
  float meanSquare = 0;
  for (float value : values)
    meanSquare += (value * factor) * (value * factor);
  meanSquare /= static_cast<float>(values.size());
  for (auto [index, block] : enumerate(blocks)) {
    float x[kBlock] = {}, weight[kBlock] = {};
    const size_t first = index * kBlock;
    const size_t count = std::min<size_t>(kBlock, values.size() - first);
    block.extreme = 0;
    for (size_t i = 0; i < count; ++i) {
      x[i] = values[first + i] * factor;
      weight[i] = importance.empty() ? 1 : importance[first + i];
      if (std::abs(x[i]) > std::abs(block.extreme))
        block.extreme = x[i];
    }
    std::memcpy(block.values, x, sizeof(x));
    std::memcpy(block.importance, weight, sizeof(weight));
    for (int half = 0; half < kHalves; ++half) {
      const Lanes &v = block.values[half];
      block.importance[half] *= __builtin_elementwise_sqrt(meanSquare + v * v);
      block.product[half] = v * block.importance[half];
    }
  }
}

} // namespace

void quantizeQ4(ArrayRef<float> values, ArrayRef<float> importance,
                Q4Row &row) {
  const size_t count = divideCeil(values.size(), kBlock);
  row.nibbles.assign(count * kBlock, 8);
  row.steps.assign(count, 0);
  row.scale = 0;
  float largest = 0;
  for (float value : values)
    largest = std::max(largest, std::abs(value));
  if (largest < 0x1p-100f)
    return;
  // Near one, so that no square leaves the range; powers of two are exact.
  const int exponent = std::ilogb(largest);
  std::vector<Block> blocks(count);
  loadBlocks(values, importance, std::ldexp(1.0f, -exponent), blocks);

  chooseScales(blocks.data(), count);
  float rowScale = 0;
  for (const Block &block : blocks)
    for (int moved : {0, 1})
      rowScale = std::max(rowScale,
                          std::abs(block.scales[moved]) / kLargestStep[moved]);
  if (rowScale == 0)
    return;
  rowScale = chooseSteps(blocks.data(), count, rowScale, row.steps.data());
  chooseNibbles(blocks.data(), count, rowScale, row.steps.data(),
                row.nibbles.data());
  std::fill(row.nibbles.begin() + values.size(), row.nibbles.end(), 8);
  row.scale = std::ldexp(rowScale, exponent);
}

} // namespace sputnik
