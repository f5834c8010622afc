//===- LogitWeights.h - Passes over a row of logits -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_LOGITWEIGHTS_H
#define SPUTNIK_RUNTIME_LOGITWEIGHTS_H

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace sputnik::rt {

/// The largest of a row of logits and the first that is as large; minus infinity
/// and -1 where none is larger than that.
struct LargestLogit {
  float value;
  int32_t id;
  /// Whether some logit is no number; then the others mean nothing.
  bool hasNaN;
};
LargestLogit findLargest(std::span<const float> logits);

/// What each token of a row weighs before one is drawn: a whole number,
/// exp((logit - largest) / temperature) * abi::kLargestWeight, rounded; 0 for those
/// that are abi::kLargestDistance or more below. With the vectors of the processor,
/// and the same numbers on all.
class LogitWeights {
public:
  /// `largest` is finite, and so are all logits but those of minus infinity.
  void weigh(std::span<const float> logits, float largest, double temperature);

  uint64_t sum() const { return total; }
  /// How many tokens have a weight.
  size_t count() const { return weighing; }

  /// Calls `body` with the id and the weight of each token that weighs `floor` or
  /// more, which is at least 1; ids ascend.
  template <typename Body> void forHeavy(uint64_t floor, Body body) const {
    for (size_t block = 0; block < heaviest.size(); ++block) {
      if (heaviest[block] < floor)
        continue;
      const size_t end = std::min(weights.size(), (block + 1) * kBlock);
      for (size_t id = block * kBlock; id < end; ++id)
        if (weights[id] >= floor)
          body(static_cast<int32_t>(id), weights[id]);
    }
  }

private:
  static constexpr size_t kBlock = 64;

  std::vector<uint64_t> weights;
  std::vector<uint64_t> heaviest; ///< Of each block of tokens.
  uint64_t total = 0;
  size_t weighing = 0;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_LOGITWEIGHTS_H
