//===- LogitWeights.cpp - Passes over a row of logits ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops without branches, which the compiler makes vectors of, once for each kind
// of processor.
//
//===----------------------------------------------------------------------===//
#include "runtime/LogitWeights.h"
#include "runtime/Abi.h"
#include "runtime/Exponential.h"

#include <algorithm>
#include <bit>
#include <cmath>

#if defined(__x86_64__)
#define SPUTNIK_FOR_EACH_PROCESSOR                                             \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define SPUTNIK_FOR_EACH_PROCESSOR
#endif

namespace sputnik::rt {

namespace {

/// Whole numbers in the order of the floats; those that are no numbers are above
/// all others here.
struct BlockLargest {
  int32_t ordered;
  bool hasNaN;
};

struct BlockWeight {
  uint64_t sum, heaviest, count;
};

SPUTNIK_FOR_EACH_PROCESSOR
BlockLargest largestOf(const float *logits, size_t count) {
  int32_t ordered = INT32_MIN, magnitude = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<int32_t>(logits[i]);
    const int32_t without = bits & INT32_MAX;
    magnitude = std::max(magnitude, without);
    ordered = std::max(ordered, bits < 0 ? -without : without);
  }
  return {ordered, magnitude > std::bit_cast<int32_t>(INFINITY)};
}

SPUTNIK_FOR_EACH_PROCESSOR
BlockWeight weigh(const float *logits, size_t count, float largest,
                  double temperature, uint64_t *weights) {
#pragma STDC FP_CONTRACT OFF
  // Numbers below 2^52 are whole in the low bits of their sum with it.
  constexpr double whole = 0x1p52;
  BlockWeight all = {0, 0, 0};
  for (size_t i = 0; i < count; ++i) {
    const double distance =
        (static_cast<double>(logits[i]) - static_cast<double>(largest)) /
        temperature;
    const bool near = distance >= -abi::kLargestDistance;
    const double weight =
        expNonPositive(near ? distance : -abi::kLargestDistance) *
            abi::kLargestWeight +
        0.5;
    const double rounded = (weight + whole) - whole;
    const double below = rounded > weight ? rounded - 1.0 : rounded;
    const uint64_t number = std::bit_cast<uint64_t>(below + whole) -
                            std::bit_cast<uint64_t>(whole);
    weights[i] = near ? number : 0;
    all.sum += weights[i];
    all.heaviest = std::max(all.heaviest, weights[i]);
    all.count += weights[i] != 0;
  }
  return all;
}

} // namespace

LargestLogit findLargest(std::span<const float> logits) {
  constexpr size_t size = 1024;
  LargestLogit largest = {-INFINITY, -1, false};
  size_t found = logits.size();
  for (size_t first = 0; first < logits.size(); first += size) {
    const BlockLargest block =
        largestOf(&logits[first], std::min(size, logits.size() - first));
    if (block.hasNaN)
      return {NAN, -1, true};
    const auto value = std::bit_cast<float>(
        block.ordered < 0 ? -block.ordered | INT32_MIN : block.ordered);
    if (value > largest.value) {
      largest.value = value;
      found = first;
    }
  }
  if (found < logits.size())
    largest.id = static_cast<int32_t>(
        std::find(logits.begin() + static_cast<std::ptrdiff_t>(found),
                  logits.end(), largest.value) -
        logits.begin());
  return largest;
}

void LogitWeights::weigh(std::span<const float> logits, float largest,
                         double temperature) {
  weights.resize(logits.size());
  heaviest.clear();
  total = 0;
  weighing = 0;
  for (size_t first = 0; first < logits.size(); first += kBlock) {
    const BlockWeight block =
        rt::weigh(&logits[first], std::min(kBlock, logits.size() - first),
                  largest, temperature, &weights[first]);
    total += block.sum;
    weighing += block.count;
    heaviest.push_back(block.heaviest);
  }
}

} // namespace sputnik::rt
