//===- RopeTest.cpp - Rotary frequencies against reference values ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Rope.h"

#include "importer/InputFile.h"
#include "importer/Json.h"

#include "gtest/gtest.h"

#include <cstdlib>

using namespace llvm;
using namespace sputnik;

namespace {

std::string goldenFile() {
  const char *shared = std::getenv("SPUTNIK_SHARED_DATA");
  return (shared ? shared : SPUTNIK_SOURCE_DIR "/../shared/data") +
         std::string("/golden/rope_golden.json");
}

class RopeGolden : public testing::Test {
protected:
  void SetUp() override {
    Expected<InputFile> file = InputFile::open(goldenFile());
    if (!file) {
      consumeError(file.takeError());
      GTEST_SKIP() << "no " << goldenFile();
    }
    golden = cantFail(parseJson(file->text(), goldenFile()));
  }

  /// The numbers under `key`, or under `key`.inv_freq.
  std::vector<double> numbers(StringRef key) {
    const json::Object &all = *golden.getAsObject();
    const json::Object *object = all.getObject(key);
    const json::Array *array =
        object ? object->getArray("inv_freq") : all.getArray(key);
    std::vector<double> result;
    for (const json::Value &value : *array)
      result.push_back(*value.getAsNumber());
    return result;
  }
  double number(StringRef object, StringRef key) {
    return *golden.getAsObject()->getObject(object)->getNumber(key);
  }

  static void expectNear(ArrayRef<double> actual, ArrayRef<double> expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_NEAR(actual[i], expected[i], 1e-12 * expected[i]) << "pair " << i;
  }

  json::Value golden = nullptr;
};

RopeConfig llama3() {
  RopeConfig rope;
  rope.theta = 500000;
  rope.kind = RopeConfig::Kind::Llama3;
  rope.factor = 8;
  rope.originalMaxPositions = 8192;
  return rope;
}

TEST_F(RopeGolden, Plain) {
  RopeConfig rope;
  expectNear(ropeFrequencies(rope, 128), numbers("default_theta10000_dim128"));
  rope.theta = 1e6;
  expectNear(ropeFrequencies(rope, 128), numbers("default_theta1e6_dim128"));
  EXPECT_EQ(rope.cosSinFactor(), 1);
}

TEST_F(RopeGolden, Llama3) {
  expectNear(ropeFrequencies(llama3(), 128),
             numbers("llama3_theta500000_dim128"));
  EXPECT_EQ(llama3().cosSinFactor(), 1);
}

TEST_F(RopeGolden, DivisorsOfGgufGiveLlama3) {
  RopeConfig rope;
  rope.theta = 500000;
  for (double divisor : numbers("llama3_gguf_rope_freqs_factors"))
    rope.divisors.push_back(static_cast<float>(divisor));
  const std::vector<double> actual = ropeFrequencies(rope, 128);
  const std::vector<double> expected = numbers("llama3_theta500000_dim128");
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], 1e-7 * expected[i]) << "pair " << i;
}

TEST_F(RopeGolden, YarnOfDeepSeekV3) {
  RopeConfig rope;
  rope.kind = RopeConfig::Kind::Yarn;
  rope.factor = 40;
  rope.originalMaxPositions = 4096;
  rope.mscale = rope.mscaleAllDim = 1;
  expectNear(ropeFrequencies(rope, 64), numbers("deepseek_v3_yarn_dim64"));
  EXPECT_DOUBLE_EQ(rope.cosSinFactor(),
                   number("deepseek_v3_yarn_dim64", "cos_sin_scale"));
}

TEST_F(RopeGolden, YarnOfQwen3) {
  RopeConfig rope;
  rope.theta = 1e6;
  rope.kind = RopeConfig::Kind::Yarn;
  rope.factor = 4;
  rope.originalMaxPositions = 32768;
  const StringRef key = "r1_0528_qwen3_8b_yarn_dim128";
  expectNear(ropeFrequencies(rope, 128), numbers(key));
  EXPECT_DOUBLE_EQ(rope.cosSinFactor(),
                   number(key, "cos_sin_scale_hf_and_llamacpp"));
  rope.attnFactor = 0.8782488562869419;
  EXPECT_DOUBLE_EQ(rope.cosSinFactor(),
                   number(key, "cos_sin_scale_with_attn_factor"));
  EXPECT_DOUBLE_EQ(rope.cosSinFactor(/*honourAttnFactor=*/false),
                   number(key, "cos_sin_scale_hf_and_llamacpp"));
  rope.attentionFactor = 0.9;
  EXPECT_DOUBLE_EQ(rope.cosSinFactor(), 0.9);
}

TEST(Rope, YarnWithoutARampStaysFinite) {
  RopeConfig rope;
  rope.kind = RopeConfig::Kind::Yarn;
  rope.factor = 2;
  rope.originalMaxPositions = 1;
  for (double frequency : ropeFrequencies(rope, 8))
    EXPECT_TRUE(frequency > 0 && frequency <= 1) << frequency;
}

TEST(Rope, OnePair) {
  EXPECT_EQ(ropeFrequencies(RopeConfig(), 2), std::vector<double>{1});
}

} // namespace
