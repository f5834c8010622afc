//===- Rope.cpp - Rotary frequencies of a model ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Rope.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>

namespace sputnik {
namespace {

/// Long wavelengths are stretched by the factor, short ones are left alone, and
/// those between are interpolated.
double scaleLlama3(const RopeConfig &rope, double frequency) {
  const double positions = static_cast<double>(rope.originalMaxPositions);
  const double turns = positions * frequency / (2 * std::numbers::pi);
  if (turns > rope.highFreqFactor)
    return frequency;
  if (turns < rope.lowFreqFactor)
    return frequency / rope.factor;
  const double kept =
      (turns - rope.lowFreqFactor) / (rope.highFreqFactor - rope.lowFreqFactor);
  return (1 - kept) * frequency / rope.factor + kept * frequency;
}

/// Pairs before `low` keep their frequency, pairs from `high` on are divided by
/// the factor.
struct YarnRamp {
  double low, high;

  YarnRamp(const RopeConfig &rope, int64_t rotaryDim) {
    const double dim = static_cast<double>(rotaryDim);
    const double positions = static_cast<double>(rope.originalMaxPositions);
    // The pair that turns so often within the original context.
    const auto pair = [&](double turns) {
      return dim * std::log(positions / (2 * std::numbers::pi * turns)) /
             (2 * std::log(rope.theta));
    };
    low = std::max(std::floor(pair(rope.betaFast)), 0.0);
    high = std::min(std::ceil(pair(rope.betaSlow)), dim - 1);
    if (low == high)
      high += 0.001;
  }

  double at(int64_t index) const {
    return std::clamp((static_cast<double>(index) - low) / (high - low), 0.0,
                      1.0);
  }
};

} // namespace

std::vector<double> ropeFrequencies(const RopeConfig &rope, int64_t rotaryDim) {
  assert(rotaryDim > 0 && rotaryDim % 2 == 0 && "features turn in pairs");
  const int64_t pairs = rotaryDim / 2;
  assert((rope.divisors.empty() ||
          static_cast<int64_t>(rope.divisors.size()) == pairs) &&
         "one divisor per pair");
  std::vector<double> frequencies(pairs);
  for (int64_t i = 0; i < pairs; ++i)
    frequencies[i] = std::pow(rope.theta, -2.0 * static_cast<double>(i) /
                                              static_cast<double>(rotaryDim));
  switch (rope.kind) {
  case RopeConfig::Kind::None:
    break;
  case RopeConfig::Kind::Llama3:
    for (double &frequency : frequencies)
      frequency = scaleLlama3(rope, frequency);
    break;
  case RopeConfig::Kind::Yarn: {
    const YarnRamp ramp(rope, rotaryDim);
    for (int64_t i = 0; i < pairs; ++i)
      frequencies[i] = frequencies[i] / rope.factor * ramp.at(i) +
                       frequencies[i] * (1 - ramp.at(i));
    break;
  }
  }
  for (size_t i = 0; i < rope.divisors.size(); ++i)
    frequencies[i] /= rope.divisors[i];
  return frequencies;
}

} // namespace sputnik
