//===- LogitWeightsTest.cpp - Passes over logits, against plain loops -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/LogitWeights.h"
#include "runtime/Abi.h"
#include "runtime/Exponential.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace sputnik::rt {
namespace {

std::vector<float> someLogits(size_t count, double deviation) {
  std::mt19937 random(static_cast<uint32_t>(count));
  std::normal_distribution<float> normal(0, static_cast<float>(deviation));
  std::vector<float> logits(count);
  for (float &logit : logits)
    logit = normal(random);
  return logits;
}

TEST(FindLargest, IsTheFirstOfThose) {
  for (size_t count : {1, 2, 15, 16, 17, 1023, 1024, 1025, 5000}) {
    std::vector<float> logits = someLogits(count, 3);
    for (size_t at : {size_t(0), count / 2, count - 1}) {
      std::vector<float> row = logits;
      row[at] = row.back() = 50;
      const LargestLogit largest = findLargest(row);
      EXPECT_EQ(largest.value, 50);
      EXPECT_EQ(largest.id, static_cast<int32_t>(at));
      EXPECT_FALSE(largest.hasNaN);
    }
  }
}

TEST(FindLargest, TakesBothZerosForOne) {
  std::vector<float> logits(3000, -1);
  logits[5] = -0.0f;
  logits[2000] = 0.0f;
  EXPECT_EQ(findLargest(logits).id, 5);
  logits[7] = 0.0f;
  EXPECT_EQ(findLargest(logits).id, 5);
}

TEST(FindLargest, TellsWhatIsNoNumber) {
  for (float sign : {1.0f, -1.0f})
    for (size_t at : {0, 1023, 1024, 2999}) {
      std::vector<float> logits = someLogits(3000, 1);
      logits[at] = std::copysign(NAN, sign);
      EXPECT_TRUE(findLargest(logits).hasNaN);
    }
  EXPECT_EQ(findLargest(std::vector<float>(100, -INFINITY)).id, -1);
  EXPECT_EQ(findLargest({}).id, -1);
  std::vector<float> infinite(100, -INFINITY);
  infinite[70] = INFINITY;
  EXPECT_EQ(findLargest(infinite).id, 70);
}

TEST(LogitWeights, AreWhatOneByOneGives) {
  LogitWeights weights;
  for (size_t count : {1, 7, 63, 64, 65, 1000, 4097})
    for (double deviation : {0.5, 4.0, 40.0})
      for (double temperature : {0.1, 0.6, 1.0, 7.0}) {
        std::vector<float> logits = someLogits(count, deviation);
        if (count > 1)
          logits[count / 3] = -INFINITY;
        const float largest = findLargest(logits).value;
        weights.weigh(logits, largest, temperature);
        uint64_t sum = 0;
        size_t weighing = 0;
        std::vector<std::pair<int32_t, uint64_t>> expected, found;
        const uint64_t floor = 1000;
        for (size_t id = 0; id < count; ++id) {
          const double distance =
              (static_cast<double>(logits[id]) - static_cast<double>(largest)) /
              temperature;
          if (!(distance >= -abi::kLargestDistance))
            continue;
          const auto weight = static_cast<uint64_t>(
              expNonPositive(distance) * abi::kLargestWeight + 0.5);
          sum += weight;
          weighing += weight != 0;
          if (weight >= floor)
            expected.emplace_back(static_cast<int32_t>(id), weight);
        }
        weights.forHeavy(floor, [&](int32_t id, uint64_t weight) {
          found.emplace_back(id, weight);
        });
        EXPECT_EQ(weights.sum(), sum);
        EXPECT_EQ(weights.count(), weighing);
        EXPECT_EQ(found, expected);
      }
}

} // namespace
} // namespace sputnik::rt
