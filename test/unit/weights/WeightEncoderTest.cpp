//===- WeightEncoderTest.cpp - Rounding and what can be stored ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightEncoder.h"

#include "codegen/weights/BFloat16.h"
#include "codegen/weights/BlockQuantizer.h"

#include "llvm/ADT/APFloat.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

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

/// The value of [row, column] by the words of #r1.encoding's description.
float storedValue(r1::EncodingAttr encoding, int64_t columns,
                  const std::vector<uint8_t> &bytes, int64_t row,
                  int64_t column) {
  const int64_t panel = encoding.getPanel(), lane = row % panel;
  const int64_t filled = alignTo(columns, 32);
  const bool q8 = encoding.getScheme() == r1::Scheme::Q8;
  const bool q4 = encoding.getScheme() == r1::Scheme::Q4;
  const int64_t quantBytes = q8 ? filled * panel : filled * panel / 2;
  const int64_t scaleBytes = q4 ? 1 : 4;
  int64_t scalesEnd = quantBytes + filled / 32 * panel * scaleBytes;
  if (q4)
    scalesEnd = alignTo(scalesEnd, 4);
  int64_t panelBytes = scalesEnd + (q4 ? 4 * panel : 0);
  if (panel > 1)
    panelBytes = alignTo(panelBytes, 64);
  const uint8_t *start = bytes.data() + row / panel * panelBytes;
  const uint8_t *scaleAt =
      start + quantBytes + (column / 32 * panel + lane) * scaleBytes;
  const uint8_t byte = start[(column / 8 * panel + lane) * 4 + column % 4];
  const int nibble = column % 8 < 4 ? byte & 15 : byte >> 4;
  float scale;
  std::memcpy(&scale, q4 ? start + scalesEnd + lane * 4 : scaleAt,
              sizeof(scale));
  if (q4) {
    const auto step = static_cast<int8_t>(*scaleAt);
    const int shift = step % 2 == 0 ? 0 : r1::kQ4Shift;
    return static_cast<float>(r1::kQ4Table[nibble] + shift) *
           (static_cast<float>(step) * scale);
  }
  if (q8)
    return static_cast<int8_t>(
               start[(column / 4 * panel + lane) * 4 + column % 4]) *
           scale;
  return static_cast<float>(nibble - 8) * scale;
}

TEST(WeightEncoder, LaysBlocksOutAsTheEncodingSays) {
  mlir::MLIRContext context;
  context.loadDialect<r1::R1Dialect>();
  constexpr int64_t rows = 19, columns = 77;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(rows * columns);
  for (float &value : values)
    value = normal(random);
  for (r1::Scheme scheme :
       {r1::Scheme::Q8, r1::Scheme::Q4, r1::Scheme::Q4Plain})
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
      // the largest, which is near 2.1 deviations.
      const double relative = std::sqrt(error / energy);
      EXPECT_LT(relative, scheme == r1::Scheme::Q8 ? 0.01 : 0.12);
      EXPECT_GT(relative, 0.001);
    }
}

double relativeError(r1::Scheme scheme, ArrayRef<float> values,
                     int64_t columns) {
  std::vector<float> rounded(values);
  roundToScheme(scheme, columns, rounded);
  double error = 0, energy = 0;
  for (auto [exact, found] : zip_equal(values, rounded)) {
    error += std::pow(static_cast<double>(exact) - found, 2);
    energy += std::pow(static_cast<double>(exact), 2);
  }
  return std::sqrt(error / energy);
}

TEST(WeightEncoder, Q4IsCloserThanLinearBlocksAtFewerBits) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.02f);
  std::student_t_distribution<float> heavy(5);
  std::vector<float> values(64 * 512);
  for (float &value : values)
    value = normal(random);
  EXPECT_LT(relativeError(r1::Scheme::Q4, values, 512), 0.0725);
  EXPECT_GT(relativeError(r1::Scheme::Q4Plain, values, 512), 0.084);
  for (float &value : values)
    value = heavy(random);
  EXPECT_LT(relativeError(r1::Scheme::Q4, values, 512),
            0.8 * relativeError(r1::Scheme::Q4Plain, values, 512));
}

TEST(WeightEncoder, Q4HoldsRowsOfAnyRange) {
  for (float scale : {0x1p-99f, 1.0f, 0x1.fp126f}) {
    std::vector<float> values(96);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = scale * (0.25f * static_cast<float>(static_cast<int>(i % 9) - 4));
    EXPECT_LT(relativeError(r1::Scheme::Q4, values, 96), 0.08) << scale;
  }
  std::vector<float> zeros(64), rounded(64, 1);
  rounded = zeros;
  roundToScheme(r1::Scheme::Q4, 64, rounded);
  EXPECT_EQ(rounded, zeros);
  // A block that is nothing beside its neighbour, and one of zeros.
  std::vector<float> mixed(96);
  for (int i = 0; i < 32; ++i) {
    mixed[i] = 0x1p-120f;
    mixed[32 + i] = static_cast<float>(i % 5) - 2;
  }
  roundToScheme(r1::Scheme::Q4, 96, mixed);
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(mixed[i], 0);
    EXPECT_NEAR(mixed[32 + i], i % 5 - 2, 0.2);
    EXPECT_EQ(mixed[64 + i], 0);
  }
}

TEST(WeightEncoder, ImportanceMovesTheErrorToWhatMattersLess) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(32 * 64), importance(values.size(), 0.01f);
  for (float &value : values)
    value = normal(random);
  for (size_t i = 0; i < values.size(); i += 4)
    importance[i] = 1;
  const auto errorOfImportant = [&](ArrayRef<float> weights) {
    Q4Row row;
    quantizeQ4(values, weights, row);
    double error = 0;
    for (size_t i = 0; i < values.size(); i += 4)
      error += std::pow(row.value(i) - values[i], 2);
    return error;
  };
  EXPECT_LT(errorOfImportant(importance), 0.8 * errorOfImportant({}));
}

} // namespace
