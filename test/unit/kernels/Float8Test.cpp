//===- Float8Test.cpp - What kernels make of 8-bit floats -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#include <cmath>
#include <cstdlib>

namespace sputnik::testing {
namespace {

/// The values of E4M3 by the published table, if it is at hand, and by its
/// definition; zero for NaN.
std::vector<double> float8Values() {
  std::vector<double> values;
  for (int byte = 0; byte < 256; ++byte) {
    const int exponent = byte >> 3 & 15, fraction = byte & 7;
    const double magnitude = exponent ? std::ldexp(8 + fraction, exponent - 10)
                                      : std::ldexp(fraction, -9);
    values.push_back((byte & 127) == 127 ? 0
                     : byte & 128        ? -magnitude
                                         : magnitude);
  }
  const char *shared = std::getenv("SPUTNIK_SHARED_DATA");
  auto buffer = llvm::MemoryBuffer::getFile(
      (shared ? shared : SPUTNIK_SOURCE_DIR "/../shared/data") +
      std::string("/golden/fp8_e4m3fn_table.json"));
  if (!buffer)
    return values;
  const llvm::json::Value json =
      llvm::cantFail(llvm::json::parse((*buffer)->getBuffer()));
  const llvm::json::Array &table = *json.getAsObject()->getArray("values");
  for (size_t byte = 0; byte < values.size(); ++byte)
    EXPECT_EQ(table[byte].getAsNumber().value_or(0), values[byte]) << byte;
  return values;
}

class Float8Test : public KernelFixture {
protected:
  void checkEveryByte();
};

void Float8Test::checkEveryByte() {
  // Unit vectors pick columns, one for each byte of a word. The last column
  // makes every row's scale one.
  const std::vector<double> values = float8Values();
  Matrix expected(4, 256);
  std::vector<float> weights, units(4 * 5);
  for (int64_t row = 0; row < 256; ++row) {
    for (int64_t column = 0; column < 4; ++column)
      weights.push_back(static_cast<float>(expected.at(column, row) =
                                               values[(row + 77 * column) % 256]));
    weights.push_back(448);
  }
  for (int64_t i = 0; i < 4; ++i)
    units[i * 5 + i] = 1;
  add("w", "F32", {256, 5}, weights);
  add("x", "F32", {4, 5}, units);
  GraphText g = graph();
  check(g.finish(g.selectOutputs(g.linear(g.embed("x", 4, 5), "w", 256))),
        expected, /*tolerance=*/0);
}

/// By the instructions of other targets.
class Float8TargetTest : public Float8Test {};

TEST_P(Float8Test, EveryByteIsItsValueInTheTable) { checkEveryByte(); }
TEST_P(Float8TargetTest, EveryByteIsItsValueInTheTable) { checkEveryByte(); }

INSTANTIATE_TEST_SUITE_P(
    FP8, Float8Test,
    ::testing::Combine(::testing::Values(r1::Scheme::FP8),
                       ::testing::ValuesIn(kernelOptLevels),
                       ::testing::Values("native")),
    kernelParamName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Float8TargetTest);
INSTANTIATE_TEST_SUITE_P(
    FP8, Float8TargetTest,
    ::testing::Combine(::testing::Values(r1::Scheme::FP8),
                       ::testing::Values(3),
                       ::testing::ValuesIn(otherKernelTargets())),
    kernelParamName);

} // namespace
} // namespace sputnik::testing
