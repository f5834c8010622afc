//===- WeightEncoderTest.cpp - Rounding and what can be stored ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightEncoder.h"

#include "codegen/weights/BFloat16.h"
#include "codegen/weights/BlockQuantizer.h"
#include "codegen/weights/Float8.h"
#include "importer/TensorType.h"

#include "llvm/ADT/APFloat.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <tuple>

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

TEST(WeightEncoder, RoundsToTheNearestEvenFloat8) {
  // Every bf16 up to the largest E4M3, and what lies beside its rounding.
  for (uint32_t upper = 0; upper < 0x10000; ++upper)
    for (uint32_t lower : {0u, 1u, 0xffffu}) {
      const float value = bit_cast<float>(upper << 16 | lower);
      if (!(std::abs(value) <= kFloat8Largest))
        continue;
      APFloat expected(value);
      bool inexact;
      expected.convert(APFloat::Float8E4M3FN(), APFloat::rmNearestTiesToEven,
                       &inexact);
      uint8_t found;
      toFloat8(value, 1, &found);
      ASSERT_EQ(found, expected.bitcastToAPInt().getZExtValue())
          << std::hex << upper << ' ' << lower;
    }
}

TEST(WeightEncoder, KeepsWhatWasStoredInFloat8) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> exponent(-30, 10);
  for (int round = 0; round < 200; ++round) {
    uint8_t stored[r1::kFloat8Block], found[r1::kFloat8Block];
    for (uint8_t &byte : stored)
      do
        byte = static_cast<uint8_t>(random());
      while ((byte & 0x7f) == 0x7f);
    float values[r1::kFloat8Block];
    dequantize(TensorType::F8E4M3, stored, values, r1::kFloat8Block);
    const float scale = std::exp2(exponent(random));
    for (float &value : values)
      value *= scale;
    ASSERT_EQ(quantizeFloat8(values, scale, found), scale);
    ASSERT_EQ(ArrayRef(found), ArrayRef(stored));
    // Another scale does not give these values: a fitting one is chosen.
    const float chosen = quantizeFloat8(values, 1.01f * scale, found);
    ASSERT_NE(chosen, 1.01f * scale);
    const float largest = *std::max_element(
        values, std::end(values),
        [](float a, float b) { return std::abs(a) < std::abs(b); });
    ASSERT_EQ(chosen, std::abs(largest) / kFloat8Largest);
  }
}

/// Values of blocks as GGUF's Q8_0 and Q4_0 store them: integers in [lowest,
/// highest] times an f16 of either sign.
static std::vector<float> ggufValues(int lowest, int highest) {
  std::mt19937 generator(11);
  std::uniform_int_distribution<int> quant(lowest, highest);
  std::uniform_int_distribution<int> significand(1, 2047), exponent(-24, 5);
  std::vector<float> values;
  for (int block = 0; block < 2000; ++block) {
    const float scale = std::ldexp(static_cast<float>(significand(generator)),
                                   exponent(generator)) *
                        (block % 2 ? -1.0f : 1.0f);
    // Some blocks have few different values, and some of those a common factor.
    const int step = block % 5 == 0 ? 2 : 1, most = block % 7 == 0 ? 3 : 1000;
    for (int i = 0; i < 32; ++i)
      values.push_back(
          static_cast<float>(
              std::clamp(quant(generator), -most, most) / step * step) *
          scale);
  }
  return values;
}

TEST(WeightEncoder, KeepsTheValuesOfGGUF) {
  for (auto [scheme, lowest, highest] :
       {std::tuple(r1::Scheme::Q8, -127, 127),
        std::tuple(r1::Scheme::Q4Plain, -8, 7)}) {
    const std::vector<float> values = ggufValues(lowest, highest);
    std::vector<float> stored = values;
    roundToScheme(scheme, 32, stored);
    EXPECT_EQ(stored, values) << r1::stringifyScheme(scheme).str();
  }
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

/// The value of [row, column] by the words of #r1.encoding's description.
float storedValue(r1::EncodingAttr encoding, int64_t columns,
                  const std::vector<uint8_t> &bytes, int64_t row,
                  int64_t column) {
  const int64_t panel = encoding.getPanel(), lane = row % panel;
  const bool q8 = encoding.getScheme() == r1::Scheme::Q8;
  const bool q4 = encoding.getScheme() == r1::Scheme::Q4;
  const bool fp8 = encoding.getScheme() == r1::Scheme::FP8;
  const int64_t width = fp8 ? 128 : 32;
  // Bytes of a block's quants and of a group's scales.
  const int64_t quants = (q8 || fp8 ? width : width / 2) * panel;
  const int64_t blocks = q4 ? 4 : 1, scales = 4 * panel;
  const int64_t count = divideCeil(columns, width);
  const int64_t end =
      alignTo(divideCeil(count, blocks) * scales + count * quants, 4);
  int64_t panelBytes = q4 ? end + 4 * panel : end;
  if (panel > 1)
    panelBytes = alignTo(panelBytes, 64);
  const uint8_t *start = bytes.data() + row / panel * panelBytes;
  const int64_t block = column / width, inBlock = column % width;
  const uint8_t *group = start + block / blocks * (scales + blocks * quants);
  const uint8_t *quant = group + scales + block % blocks * quants;
  const auto floatAt = [](const uint8_t *at) {
    float value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  };
  const uint8_t *whole = quant + (inBlock / 4 * panel + lane) * 4 + inBlock % 4;
  if (fp8)
    return APFloat(APFloat::Float8E4M3FN(), APInt(8, *whole))
               .convertToFloat() *
           floatAt(group + 4 * lane);
  if (q8)
    return static_cast<int8_t>(*whole) * floatAt(group + 4 * lane);
  const uint8_t byte = quant[(inBlock / 8 * panel + lane) * 4 + inBlock % 4];
  const int nibble = inBlock % 8 < 4 ? byte & 15 : byte >> 4;
  if (!q4)
    return static_cast<float>(nibble - 8) * floatAt(group + 4 * lane);
  const auto step = static_cast<int8_t>(group[block % blocks * panel + lane]);
  const int moved = r1::kQ4Table[nibble] + (step & 1 ? r1::kQ4Shift : 0);
  return static_cast<float>(moved) *
         (static_cast<float>(step) * floatAt(start + end + 4 * lane));
}

TEST(WeightEncoder, LaysBlocksOutAsTheEncodingSays) {
  mlir::MLIRContext context;
  context.loadDialect<r1::R1Dialect>();
  constexpr int64_t rows = 19, columns = 301;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(rows * columns);
  for (float &value : values)
    value = normal(random);
  for (r1::Scheme scheme :
       {r1::Scheme::Q8, r1::Scheme::Q4, r1::Scheme::Q4Plain, r1::Scheme::FP8})
    for (int64_t panel : {1, 16}) {
      SCOPED_TRACE((r1::stringifyScheme(scheme) + " " + Twine(panel)).str());
      auto encoding = r1::EncodingAttr::get(&context, scheme, panel, 4);
      auto type = mlir::RankedTensorType::get(
          {rows, columns}, mlir::Float32Type::get(&context), encoding);
      WeightEncoder encoder(type);
      std::vector<uint8_t> bytes(encoding.getBytes({rows, columns}));
      encoder.encode(values, rows, bytes);
      std::vector<float> rounded = values, decoded(values.size());
      roundToScheme(scheme, columns, rounded);
      encoder.decode(bytes, rows, decoded);
      EXPECT_EQ(decoded, rounded);
      double error = 0, energy = 0;
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          const float wanted = rounded[row * columns + column];
          ASSERT_EQ(storedValue(encoding, columns, bytes, row, column), wanted)
              << row << ' ' << column;
          error += std::pow(wanted - values[row * columns + column], 2);
          energy += std::pow(values[row * columns + column], 2);
        }
      // What blocks of 32 normal values lose: a step of 1/127 or about 1/7 of
      // the largest, which is near 2.1 deviations. 3 bits of significand lose up
      // to 1/16 of each value, 1/2.6 of that in the mean.
      const double relative = std::sqrt(error / energy);
      EXPECT_LT(relative, scheme == r1::Scheme::Q8    ? 0.01
                          : scheme == r1::Scheme::FP8 ? 0.03
                                                      : 0.12);
      EXPECT_GT(relative, 0.001);
    }
}

} // namespace
