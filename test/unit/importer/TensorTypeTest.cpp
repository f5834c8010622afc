//===- TensorTypeTest.cpp - Stored numbers as f32 -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/TensorType.h"

#include "FileWriters.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

using namespace llvm;

namespace sputnik::testing {
namespace {

std::vector<float> values(TensorType type, StringRef bytes, size_t elements) {
  std::vector<float> result(elements);
  dequantize(type, reinterpret_cast<const uint8_t *>(bytes.data()),
             result.data(), elements);
  return result;
}

TEST(TensorType, F16) {
  // Every bit pattern, by the definition of the format.
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = values(TensorType::F16, u16Bytes(bits), 1)[0];
    const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    const float sign = bits >> 15 ? -1.0f : 1.0f;
    if (exponent == 31 && mantissa != 0) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    float expected = std::numeric_limits<float>::infinity();
    if (exponent < 31)
      expected = exponent == 0
                     ? std::ldexp(float(mantissa), -24)
                     : std::ldexp(float(1024 + mantissa), exponent - 25);
    ASSERT_EQ(value, sign * expected) << bits;
    ASSERT_EQ(std::signbit(value), bits >> 15 != 0) << bits;
  }
}

TEST(TensorType, PlainTypes) {
  EXPECT_EQ(values(TensorType::F32, f32Bytes(1.5f) + f32Bytes(-0.1f), 2),
            (std::vector<float>{1.5f, -0.1f}));
  EXPECT_EQ(
      values(TensorType::BF16, u16Bytes(0x3fc0) + u16Bytes(0xff80), 2),
      (std::vector<float>{1.5f, -std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(
      values(TensorType::F64, u64Bytes(std::bit_cast<uint64_t>(-2.25)), 1)[0],
      -2.25f);
  // F8_E5M2 is the upper byte of an f16.
  EXPECT_EQ(values(TensorType::F8E5M2, "\x3e\xbc\x01", 3),
            (std::vector<float>{1.5f, -1.0f, std::ldexp(1.0f, -16)}));
}

TEST(TensorType, UnalignedSource) {
  const std::string bytes = "x" + f32Bytes(3.25f);
  EXPECT_EQ(values(TensorType::F32, StringRef(bytes).drop_front(), 1)[0],
            3.25f);
}

TEST(TensorType, Sizes) {
  EXPECT_EQ(tensorBytes(TensorType::BF16, {3, 5}), 30u);
  EXPECT_EQ(tensorBytes(TensorType::BF16, {}), 2u);
  EXPECT_EQ(tensorBytes(TensorType::BF16, {0, 5}), 0u);
  EXPECT_EQ(tensorBytes(TensorType::Q4_K, {2, 512}), 2u * 2 * 144);
  EXPECT_EQ(tensorBytes(TensorType::Q8_0, {2, 48}), std::nullopt);
  EXPECT_EQ(tensorBytes(TensorType::F32, {int64_t(1) << 62}), std::nullopt);
  EXPECT_EQ(tensorBytes(TensorType::I8, {int64_t(1) << 32, int64_t(1) << 32}),
            std::nullopt);
}

TEST(TensorType, Names) {
  for (unsigned i = 0; i < numTensorTypes; ++i) {
    const auto type = static_cast<TensorType>(i);
    if (blockElements(type) == 1) {
      EXPECT_EQ(safeTensorsType(name(type)), type);
    } else {
      EXPECT_EQ(safeTensorsType(name(type)), std::nullopt);
    }
  }
  EXPECT_EQ(ggmlType(12), TensorType::Q4_K);
  EXPECT_EQ(ggmlType(30), TensorType::BF16);
  EXPECT_EQ(ggmlType(4), std::nullopt);
  EXPECT_EQ(ggmlType(0xffffffff), std::nullopt);
  EXPECT_EQ(ggmlTypeText(23), "IQ4_XS");
  EXPECT_EQ(ggmlTypeText(16), "IQ2_XXS");
  EXPECT_EQ(ggmlTypeText(77), "type 77");
}

} // namespace
} // namespace sputnik::testing
