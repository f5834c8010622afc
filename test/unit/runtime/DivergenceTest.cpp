//===- DivergenceTest.cpp - How far two predictions are apart -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Divergence.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

namespace sputnik::rt {
namespace {

TEST(Divergence, IsTheSumOverBothSoftmaxes) {
  // p = 1/4, 1/4, 1/2 and q = 1/2, 1/4, 1/4, whatever is added to all logits.
  const float two = std::log(2.0f);
  const std::vector<float> p = {7, 7, 7 + two}, q = {two, 0, 0};
  const Divergence found = divergence(p, q);
  EXPECT_NEAR(found.nats, 0.25 * std::log(2), 1e-6);
  EXPECT_FALSE(found.sameTop);
  // Not symmetric.
  const std::vector<float> even = {0, 0}, odd = {2 * two, 0};
  EXPECT_NEAR(divergence(even, odd).nats,
              0.5 * std::log(0.5 / 0.8) + 0.5 * std::log(0.5 / 0.2), 1e-6);
  EXPECT_NEAR(divergence(odd, even).nats,
              0.8 * std::log(0.8 / 0.5) + 0.2 * std::log(0.2 / 0.5), 1e-6);
}

TEST(Divergence, OfEqualLogitsIsZero) {
  const std::vector<float> logits = {-3, 1e4f, 0.5f, 9e3f};
  const Divergence found = divergence(logits, logits);
  EXPECT_EQ(found.nats, 0);
  EXPECT_TRUE(found.sameTop);
}

TEST(Divergence, OfWhatIsImpossible) {
  const float never = -std::numeric_limits<float>::infinity();
  const std::vector<float> first = {0, never}, second = {never, 0},
                           both = {0, 0};
  EXPECT_NEAR(divergence(first, both).nats, std::log(2), 1e-6);
  EXPECT_EQ(divergence(first, second).nats,
            std::numeric_limits<double>::infinity());
  const std::vector<float> broken = {0, std::nanf("")};
  EXPECT_TRUE(std::isnan(divergence(broken, both).nats));
  EXPECT_TRUE(std::isnan(divergence(both, broken).nats));
}

TEST(Divergence, Summary) {
  std::vector<Divergence> divergences;
  for (int i = 200; i > 0; --i)
    divergences.push_back({static_cast<double>(i), i % 4 != 0});
  const DivergenceSummary many = summarize(divergences);
  EXPECT_EQ(many.mean, 100.5);
  EXPECT_EQ(many.median, 100.5);
  EXPECT_EQ(many.p99, 198);
  EXPECT_EQ(many.topAgreement, 0.75);
  const DivergenceSummary one = summarize({divergences.data(), 1});
  EXPECT_EQ(one.median, 200);
  EXPECT_EQ(one.p99, 200);
}

} // namespace
} // namespace sputnik::rt
