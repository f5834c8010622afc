//===- ImageTest.cpp - Tests of where the weights come from ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Image.h"
#include "FakeModel.h"
#include "TemporaryFolder.h"
#include "runtime/Executable.h"
#include "runtime/WeightPages.h"

#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <sched.h>

namespace sputnik::rt {

namespace {
class ImageTest : public testing::Test {
protected:
  void SetUp() override {
    Result<std::unique_ptr<ThreadPool>> created =
        ThreadPool::create(3, Cpus::available());
    ASSERT_TRUE(created);
    pool = std::move(*created);
    const uint8_t *image = sputnik_image_address();
    good.assign(reinterpret_cast<const char *>(image),
                abi::kImageHeaderBytes + test::fakeWeightBytes);
  }

  /// The error of opening weights beside the executable, or "".
  std::string besideError(const std::string &contents) {
    folder.write("x.weights", contents);
    const Result<Image> image = Image::open(test::fakeModelWith(abi::kBeside),
                                            nullptr, folder.path("x"), *pool);
    if (image)
      return "";
    const std::string prefix = folder.path("x.weights") + ": ";
    EXPECT_EQ(image.error().message.substr(0, prefix.size()), prefix);
    return image.error().message.substr(
        std::min(prefix.size(), image.error().message.size()));
  }

  test::TemporaryFolder folder;
  std::unique_ptr<ThreadPool> pool;
  std::string good;
};
} // namespace

TEST_F(ImageTest, EmbeddedWeightsAreUsedInPlace) {
  const uint8_t *embedded = sputnik_image_address();
  const Result<Image> image =
      Image::open(sputnik_model, embedded, executablePath(), *pool);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->weights(), embedded + abi::kImageHeaderBytes);
}

TEST_F(ImageTest, RefusesTheEmbeddedWeightsOfAnother) {
  abi::Model model = sputnik_model;
  model.imageId[0] ^= 1;
  const Result<Image> image =
      Image::open(model, sputnik_image_address(), executablePath(), *pool);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().message,
            executablePath() +
                ": the weights belong to another executable than this one");
}

TEST_F(ImageTest, RefusesAnExecutableThatWasCutShort) {
  folder.write("short", "only a few bytes");
  const Result<Image> image = Image::open(
      sputnik_model, sputnik_image_address(), folder.path("short"), *pool);
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message.find("it was cut short"), std::string::npos);
}

TEST_F(ImageTest, WeightsOutsideOfAnySegmentAreNone) {
  alignas(64) static uint8_t zeros[abi::kImageHeaderBytes];
  const Result<Image> image =
      Image::open(sputnik_model, zeros, executablePath(), *pool);
  EXPECT_FALSE(image);
}

TEST_F(ImageTest, MapsWeightsBeside) {
  EXPECT_EQ(besideError(good), "");
  const Result<Image> image = Image::open(test::fakeModelWith(abi::kBeside),
                                          nullptr, folder.path("x"), *pool);
  ASSERT_TRUE(image);
  EXPECT_EQ(std::memcmp(image->weights(), &good[abi::kImageHeaderBytes],
                        test::fakeWeightBytes),
            0);
}

TEST_F(ImageTest, RefusesWrongWeightsBeside) {
  EXPECT_EQ(besideError(""), "the file is empty");
  EXPECT_EQ(besideError("short"), "has 5 bytes, expected 12288");
  EXPECT_EQ(besideError(good.substr(0, good.size() - 1)),
            "has 12287 bytes, expected 12288");
  EXPECT_EQ(besideError(good + "x"), "has 12289 bytes, expected 12288");
  std::string bad = good;
  bad[0] = 'X';
  EXPECT_EQ(besideError(bad),
            "not a weight image: it does not begin with SPUTNIKW");
  bad = good;
  bad[8] ^= 1;
  EXPECT_EQ(besideError(bad), "holds 8193 bytes of weights, expected 8192");
  bad = good;
  bad[16 + 31] ^= 1;
  EXPECT_EQ(besideError(bad),
            "the weights belong to another executable than this one");
}

TEST_F(ImageTest, SaysWhichFileIsMissing) {
  const Result<Image> image = Image::open(test::fakeModelWith(abi::kBeside),
                                          nullptr, folder.path("y"), *pool);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().message,
            folder.path("y.weights") + ": No such file or directory");
}

TEST_F(ImageTest, MakesRandomWeights) {
  const Result<Image> image =
      Image::open(test::fakeModelWith(abi::kRandom), nullptr, "", *pool);
  ASSERT_TRUE(image);
  EXPECT_EQ(std::memcmp(image->weights(), &good[abi::kImageHeaderBytes],
                        test::fakeWeightBytes),
            0);
}

/// What of the weights was first written where, by threads that are bound to one
/// processor.
static std::mutex touchedMutex;
static std::map<uint64_t, int> touched;

static void recordTouch(uint8_t *weights, uint64_t begin, uint64_t end,
                        uint64_t seed) {
  test::fakeModelWith(abi::kRandom).fillRandom(weights, begin, end, seed);
  cpu_set_t set;
  sched_getaffinity(0, sizeof(set), &set);
  std::lock_guard lock(touchedMutex);
  for (uint64_t at = begin; at < end; at += WeightPages::pageBytes)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set))
        touched[at] = CPU_COUNT(&set) == 1 ? cpu : -1;
}

TEST_F(ImageTest, WeightsAreFirstTouchedOnTheirNode) {
  Cpus cpus = Cpus::available();
  if (cpus.all.size() < 2)
    GTEST_SKIP() << "this machine has one processor";
  const int first = cpus.all[0], second = cpus.all[1];
  cpus.nodes = {{first}, {second}};
  cpus.cores = {first, second};
  // Three threads: the node of the first two reads two of three rows.
  Result<std::unique_ptr<ThreadPool>> nodes = ThreadPool::create(3, cpus);
  ASSERT_TRUE(nodes);
  abi::Model model = test::fakeModelWith(abi::kRandom);
  const abi::WeightShare shares[] = {{0, 1, 0, 2, 12288, 4096}};
  model.weightBytes = 24576 + 64;
  model.fillRandom = recordTouch;
  model.shares = shares;
  model.shareCount = std::size(shares);
  touched.clear();
  const Result<Image> image = Image::open(model, nullptr, "", **nodes);
  ASSERT_TRUE(image);
  EXPECT_EQ(touched, (std::map<uint64_t, int>{{0, first},
                                              {4096, first},
                                              {8192, second},
                                              {12288, first},
                                              {16384, first},
                                              {20480, second},
                                              {24576, second}}));
}

TEST_F(ImageTest, CopiesToNodesAreTheWeights) {
  const Cpus cpus = {{0, 1}, {{0}, {1}}, {0, 1}, 2};
  Result<std::unique_ptr<ThreadPool>> nodes = ThreadPool::create(3, cpus);
  ASSERT_TRUE(nodes);
  const uint8_t *embedded = sputnik_image_address();
  folder.write("x.weights", good);
  for (abi::WeightSource source : {abi::kEmbedded, abi::kBeside}) {
    abi::Model model = test::fakeModelWith(source);
    const abi::WeightShare shares[] = {{64, 1, 0, 1, 7000, 500}};
    model.shares = shares;
    model.shareCount = std::size(shares);
    Result<Image> image = Image::open(
        model, embedded,
        source == abi::kEmbedded ? executablePath() : folder.path("x"),
        **nodes);
    ASSERT_TRUE(image);
    const uint8_t *mapped = image->weights();
    ASSERT_TRUE(image->copyToNodes(model, **nodes));
    EXPECT_NE(image->weights(), mapped);
    EXPECT_EQ(std::memcmp(image->weights(), &good[abi::kImageHeaderBytes],
                          test::fakeWeightBytes),
              0);
  }
}

TEST_F(ImageTest, RefusesMoreRandomWeightsThanMemory) {
  abi::Model model = test::fakeModelWith(abi::kRandom);
  model.weightBytes = uint64_t{1} << 50;
  const Result<Image> image = Image::open(model, nullptr, "", *pool);
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message.find("this machine has"), std::string::npos);
}

} // namespace sputnik::rt
