//===- BlockQuantizer.cpp - Blocks of values to quants and a scale --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/BlockQuantizer.h"

#include "codegen/weights/WideCode.h"

#include "llvm/ADT/bit.h"

#include <cmath>
#include <numeric>
#include <optional>

// What a host contracts to fused operations would decide ties between scales.
#pragma STDC FP_CONTRACT OFF

using namespace llvm;

namespace sputnik {
namespace {

constexpr int64_t kBlock = r1::kQuantBlock;

float findLargest(const float *values) {
  float largest = 0;
  for (int64_t i = 0; i < kBlock; ++i)
    if (std::abs(values[i]) > std::abs(largest))
      largest = values[i];
  return largest;
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
