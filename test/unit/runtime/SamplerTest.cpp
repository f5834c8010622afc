//===- SamplerTest.cpp - Tests of sampling --------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Sampler.h"
#include "SamplingReference.h"
#include "runtime/Exponential.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace sputnik::rt;

static std::vector<float> randomLogits(size_t count, float spread,
                                       unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(count);
  for (float &logit : logits)
    logit = normal(engine);
  return logits;
}

TEST(Random, IsSplitMix64) {
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
}

TEST(Exponential, IsCloseToTheLibrarys) {
  for (double x = 0; x > -699; x -= 0.0173)
    ASSERT_NEAR(expNonPositive(x) / std::exp(x), 1, 1e-15) << x;
  EXPECT_EQ(expNonPositive(0), 1);
  EXPECT_EQ(expNonPositive(-701), 0);
  EXPECT_EQ(expNonPositive(-std::numeric_limits<double>::infinity()), 0);
}

TEST(Sampler, TemperatureZeroTakesTheFirstOfTheLargest) {
  Sampler sampler({.temperature = 0}, 5);
  const std::vector<float> logits = {1, 3, 2, 3, 3, 9};
  const Result<int32_t> id = sampler.sample(logits);
  ASSERT_TRUE(id);
  EXPECT_EQ(*id, 1);
}

TEST(Sampler, NeverLeavesTheTokenizer) {
  Sampler sampler({.temperature = 5, .topP = 1, .seed = 3}, 3);
  const std::vector<float> logits = {0, 0, 0, 50, 50};
  for (int i = 0; i < 200; ++i)
    EXPECT_LT(*sampler.sample(logits), 3);
}

TEST(Sampler, RefusesWhatIsNoNumber) {
  for (double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature}, 3);
    const float infinity = std::numeric_limits<float>::infinity();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(sampler.sample(std::vector<float>{0, nan, 0}).error().message,
              "the model's logit of token 1 is not a number");
    EXPECT_EQ(
        sampler.sample(std::vector<float>{0, infinity, 0}).error().message,
        "the model's largest logit is infinite, expected a number");
    EXPECT_FALSE(sampler.sample(std::vector<float>(3, -infinity)));
    EXPECT_FALSE(sampler.sample(std::vector<float>{}));
    EXPECT_EQ(*sampler.sample(std::vector<float>{-infinity, 1, -infinity, nan}),
              1);
  }
}

TEST(Sampler, RepeatsWithTheSeed) {
  const std::vector<float> logits = randomLogits(1000, 1, 7);
  // These ids are the same on every platform.
  Sampler sampler({.temperature = 1, .topP = 0.9, .seed = 42}, 1000);
  std::vector<int32_t> ids;
  for (int i = 0; i < 50; ++i)
    ids.push_back(*sampler.sample(logits));
  Sampler same({.temperature = 1, .topP = 0.9, .seed = 42}, 1000);
  for (int32_t id : ids)
    EXPECT_EQ(*same.sample(logits), id);
  Sampler other({.temperature = 1, .topP = 0.9, .seed = 43}, 1000);
  std::vector<int32_t> different;
  for (int i = 0; i < 50; ++i)
    different.push_back(*other.sample(logits));
  EXPECT_NE(ids, different);
}

TEST(Sampler, DrawsFromTheDistributionThatTransformersLeaves) {
  struct Case {
    size_t count;
    float spread;
    SamplingOptions options;
  };
  const Case cases[] = {
      {50, 1, {.temperature = 1, .topP = 1}},
      {50, 1, {.temperature = 0.6, .topP = 0.95}},
      {50, 1, {.temperature = 0.6, .topK = 5, .topP = 1}},
      {50, 1, {.temperature = 2, .topK = 20, .topP = 0.5}},
      {50, 0, {.temperature = 1, .topP = 0.5}},
      {600, 0.1f, {.temperature = 1, .topP = 0.95}},
      {50, 1, {.temperature = 1, .topP = 0}},
      {50, 1, {.temperature = 0.01, .topP = 0.95}},
  };
  unsigned seed = 1;
  for (const Case &c : cases) {
    const std::vector<float> logits = randomLogits(c.count, c.spread, seed++);
    const std::vector<double> wanted =
        sputnik::test::referenceDistribution(logits, c.options);
    Sampler sampler(c.options, static_cast<int64_t>(c.count));
    std::vector<double> drawn(c.count);
    const int draws = 20000;
    for (int i = 0; i < draws; ++i)
      drawn[static_cast<size_t>(*sampler.sample(logits))] += 1.0 / draws;
    for (size_t id = 0; id < c.count; ++id) {
      const double deviation = std::sqrt(wanted[id] / draws);
      EXPECT_NEAR(drawn[id], wanted[id], 5 * deviation) << "id " << id;
      if (wanted[id] == 0)
        EXPECT_EQ(drawn[id], 0) << "id " << id;
    }
  }
}

TEST(Sampler, KeepsTheTokenThatCrosses) {
  // Probabilities 0.5, 0.25, 0.25 exactly: p = 0.5 is reached by the first.
  const std::vector<float> logits = {std::log(2.0f), 0, 0};
  const auto idsSeen = [&](double topP) {
    Sampler sampler({.temperature = 1, .topP = topP, .seed = 1}, 3);
    int32_t largest = 0;
    for (int i = 0; i < 1000; ++i)
      largest = std::max(largest, *sampler.sample(logits));
    return largest;
  };
  EXPECT_EQ(idsSeen(0.49), 0);
  EXPECT_EQ(idsSeen(0.51), 1);
  EXPECT_EQ(idsSeen(0.74), 1);
  EXPECT_EQ(idsSeen(0.76), 2);
}

TEST(NegativeLogLikelihood, IsThatOfSoftmax) {
  const std::vector<float> logits = {1, 2, 3, 1000};
  EXPECT_NEAR(negativeLogLikelihood(std::span(logits).first(3), 0),
              std::log(std::exp(1) + std::exp(2) + std::exp(3)) - 1, 1e-12);
  EXPECT_NEAR(negativeLogLikelihood(logits, 3), 0, 1e-12);
  EXPECT_NEAR(negativeLogLikelihood(logits, 0), 999, 1e-9);
  const std::vector<float> broken = {1, std::numeric_limits<float>::quiet_NaN(),
                                     2};
  EXPECT_TRUE(std::isnan(negativeLogLikelihood(broken, 0)));
}
