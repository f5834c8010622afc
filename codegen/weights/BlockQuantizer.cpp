//===- BlockQuantizer.cpp - Blocks of values to quants and a scale --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/BlockQuantizer.h"

#include "codegen/weights/BFloat16.h"

#include "llvm/ADT/bit.h"

#include <array>
#include <cmath>
#include <numeric>
#include <optional>

// What a host contracts to fused operations would decide ties between scales.
#pragma STDC FP_CONTRACT OFF

// The same operations in wider registers where the host has them.
#if defined(__x86_64__) && defined(__clang__)
#define SPUTNIK_WIDE                                                           \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SPUTNIK_WIDE
#endif

using namespace llvm;

namespace sputnik {
namespace {

constexpr int64_t kBlock = r1::kQuantBlock;

/// Half a block.
typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));
constexpr int kHalves = 2, kLanes = 16;

/// Adds neighbours, then neighbours of those, in one order for every host.
[[gnu::always_inline]] inline float sumOf(const Lanes &lanes) {
  float sums[kLanes];
  std::memcpy(sums, &lanes, sizeof(sums));
  for (int width = kLanes / 2; width; width /= 2)
    for (int i = 0; i < width; ++i)
      sums[i] += sums[i + width];
  return sums[0];
}

/// Half-way between neighbours of kQ4Table.
constexpr std::array<float, 15> kQ4Borders = [] {
  std::array<float, 15> borders{};
  for (int i = 0; i < 15; ++i)
    borders[i] = 0.5f * (r1::kQ4Table[i] + r1::kQ4Table[i + 1]);
  return borders;
}();

/// A block for the search of its q4 scale.
struct WeightedBlock {
  Lanes values[kHalves];
  Lanes importance[kHalves];
  Lanes product[kHalves]; ///< Of the two.
};

/// Sums over a block quantised with some scale, t being the table's values.
struct FitSums {
  float valueTable; ///< Of importance * value * t.
  float tableTable; ///< Of importance * t * t.
};

[[gnu::always_inline]] inline FitSums fitTable(const WeightedBlock &block,
                                               float inverse) {
  Lanes valueTable = {}, tableTable = {};
  for (int half = 0; half < kHalves; ++half) {
    const Lanes scaled = block.values[half] * inverse;
    Lanes table = Lanes{} + static_cast<float>(r1::kQ4Table[0]);
    for (int i = 0; i < 15; ++i)
      table = scaled > kQ4Borders[i]
                  ? Lanes{} + static_cast<float>(r1::kQ4Table[i + 1])
                  : table;
    valueTable += block.product[half] * table;
    tableTable += block.importance[half] * table * table;
  }
  return {sumOf(valueTable), sumOf(tableTable)};
}

/// The bf16 scale, of values whose largest magnitude is `extreme`.
SPUTNIK_WIDE float chooseQ4Scale(const WeightedBlock &block, float extreme) {
  // Take the extreme near either end of the table. With what it takes from
  // that, each block has a best scale, whose gain is the error it takes away.
  float best = 0, scale = 0;
  for (float end : {-127.0f, 113.0f})
    for (int step = -7; step <= 7; ++step) {
      FitSums sums = fitTable(block, (end + step) / extreme);
      float gain = sums.valueTable * sums.valueTable / sums.tableTable;
      if (gain > best) {
        best = gain;
        scale = sums.valueTable / sums.tableTable;
      }
    }
  // From here on with what is stored: rounding the scale moves values to other
  // entries, and those have a best scale again.
  float stored = fromBFloat16(toBFloat16(scale)), next = stored;
  best = 0;
  for (int pass = 0; pass < 3; ++pass) {
    FitSums sums = fitTable(block, 1 / next);
    float gain = next * (2 * sums.valueTable - next * sums.tableTable);
    if (gain > best) {
      best = gain;
      stored = next;
    }
    float tried = next;
    next = fromBFloat16(toBFloat16(sums.valueTable / sums.tableTable));
    if (next == tried)
      break;
  }
  return stored;
}

float findLargest(const float *values) {
  float largest = 0;
  for (int64_t i = 0; i < kBlock; ++i)
    if (std::abs(values[i]) > std::abs(largest))
      largest = values[i];
  return largest;
}

QuantizedBlock quantizeQ4(const float *values, int64_t count, float largest) {
  // Near one, so that no square leaves the range; powers of two are exact.
  const int exponent = std::ilogb(largest);
  const float factor = std::ldexp(1.0f, -exponent);
  float scaled[kBlock];
  WeightedBlock block;
  Lanes squares = {};
  for (int64_t i = 0; i < kBlock; ++i)
    scaled[i] = values[i] * factor;
  std::memcpy(block.values, scaled, sizeof(scaled));
  for (const Lanes &half : block.values)
    squares += half * half;
  const float mean = sumOf(squares) / static_cast<float>(count);
  float importance[kBlock] = {};
  for (int64_t i = 0; i < count; ++i)
    importance[i] = scaled[i] * scaled[i] + mean;
  std::memcpy(block.importance, importance, sizeof(importance));
  for (int half = 0; half < kHalves; ++half)
    block.product[half] = block.values[half] * block.importance[half];

  QuantizedBlock result;
  const float scale = chooseQ4Scale(block, largest * factor);
  const float inverse = 1 / scale;
  for (int64_t i = 0; i < kBlock; ++i) {
    int8_t nibble = 0;
    for (float border : kQ4Borders)
      nibble += scaled[i] * inverse > border;
    result.quants[i] = nibble;
  }
  result.scale = std::ldexp(scale, exponent);
  return result;
}

/// The scale with which every value is an integer in [lowest, highest] times
/// it, if there is one.
std::optional<float> findExactScale(const float *values, float largest,
                                    int lowest, int highest) {
  // Values as multiples of the last bit of the smallest that may occur, which
  // is 2^7 below the largest; of these, the greatest common divisor.
  const int exponent = std::ilogb(largest);
  const auto multiple = [&](float value) -> uint64_t {
    const uint32_t bits = bit_cast<uint32_t>(value) & 0x7fffffff;
    return static_cast<uint64_t>((bits & 0x7fffff) | 0x800000)
           << (static_cast<int>(bits >> 23) - 127 - (exponent - 8));
  };
  const uint64_t steps = std::max(-lowest, highest);
  const uint64_t most = multiple(largest);
  uint64_t divisor = most;
  float least = 0, greatest = 0;
  for (int64_t i = 0; i < kBlock; ++i) {
    const float value = values[i];
    if (value == 0)
      continue;
    if (std::abs(value) < std::abs(largest) / 128)
      return std::nullopt;
    divisor = std::gcd(divisor, multiple(value));
    if (most > steps * divisor)
      return std::nullopt;
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  }
  const float scale =
      std::ldexp(static_cast<float>(divisor), exponent - 8 - 23);
  if (least >= scale * lowest && greatest <= scale * highest)
    return scale;
  if (greatest <= -scale * lowest && least >= -scale * highest)
    return -scale;
  return std::nullopt;
}

SPUTNIK_WIDE void roundToQuants(const float *values, float inverse, float zero,
                                float highest, int8_t *quants) {
  // Adding this leaves no bits for a fraction: rounds to nearest, ties to even.
  constexpr float kRound = 0x1.8p23f;
  for (int64_t i = 0; i < kBlock; ++i)
    quants[i] = static_cast<int8_t>(
        std::min((values[i] * inverse + kRound) - kRound, highest) + zero);
}

} // namespace

QuantizedBlock quantizeBlock(r1::Scheme scheme, const float *values,
                             int64_t count) {
  float block[kBlock] = {};
  std::memcpy(block, values, count * sizeof(float));
  const bool q8 = scheme == r1::Scheme::Q8;
  const float largest = findLargest(block);
  QuantizedBlock result;
  if (std::abs(largest) < 0x1p-100f) {
    std::memset(result.quants, q8 ? 0 : 8, sizeof(result.quants));
    result.scale = 0;
    return result;
  }
  if (scheme == r1::Scheme::Q4) {
    result = quantizeQ4(block, count, largest);
    std::memset(result.quants + count, 8, kBlock - count);
    return result;
  }
  const int highest = q8 ? 127 : 7;
  if (std::optional<float> exact =
          findExactScale(block, largest, q8 ? -127 : -8, highest))
    result.scale = *exact;
  else
    result.scale = q8 ? std::abs(largest) / 127 : largest / -8;
  roundToQuants(block, 1 / result.scale, q8 ? 0 : 8,
                static_cast<float>(highest), result.quants);
  return result;
}

} // namespace sputnik
