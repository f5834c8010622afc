//===- WeightEncoderTest.cpp - Rounding and what can be stored ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightEncoder.h"

#include "llvm/ADT/APFloat.h"

#include <gtest/gtest.h>

#include <limits>

using namespace llvm;
using namespace sputnik;

namespace {

TEST(WeightEncoder, RoundsToTheNearestEvenBFloat16) {
  // All upper halves with the lower halves at which rounding turns.
  for (uint32_t upper = 0; upper < 0x10000; upper += 7)
    for (uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float value = bit_cast<float>(upper << 16 | lower);
      if (std::isnan(value))
        continue;
      APFloat expected(value);
      bool inexact;
      expected.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven,
                       &inexact);
      ASSERT_EQ(toBFloat16(value), expected.bitcastToAPInt().getZExtValue())
          << std::hex << upper << ' ' << lower;
    }
}

TEST(WeightEncoder, NaNStaysNaN) {
  // Rounding up would make these infinities, or carry into the sign.
  for (uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu})
    EXPECT_TRUE(std::isnan(fromBFloat16(toBFloat16(bit_cast<float>(bits)))));
}

TEST(WeightEncoder, SaysWhatASchemeCannotStore) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  const float largestBFloat16 = bit_cast<float>(0x7f7f0000u);
  const float roundsToInfinity = bit_cast<float>(0x7f7f8000u);
  const float roundsDown = bit_cast<float>(0x7f7f7fffu);
  for (r1::Scheme scheme : {r1::Scheme::F32, r1::Scheme::BF16}) {
    EXPECT_TRUE(representable(scheme, {0, -0.0f, 1, -largestBFloat16}));
    EXPECT_TRUE(representable(scheme, {}));
    EXPECT_FALSE(representable(scheme, {1, -infinity}));
    EXPECT_FALSE(representable(scheme, {std::nanf("")}));
  }
  EXPECT_TRUE(representable(r1::Scheme::F32, {largest}));
  EXPECT_TRUE(representable(r1::Scheme::BF16, {-roundsDown}));
  EXPECT_FALSE(representable(r1::Scheme::BF16, {-roundsToInfinity}));
  EXPECT_FALSE(representable(r1::Scheme::BF16, {largest}));
}

} // namespace
