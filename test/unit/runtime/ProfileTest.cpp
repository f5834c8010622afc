//===- ProfileTest.cpp - Tests of profiles --------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Profile.h"
#include "runtime/RegionRates.h"
#include "SomeModel.h"
#include "TemporaryFolder.h"
#include "runtime/Session.h"

#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sputnik::rt {

static nlohmann::json traceOf(const Profile &profile) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path("trace.json");
  EXPECT_TRUE(profile.writeTrace(path));
  std::ifstream file(path);
  return nlohmann::json::parse(file)["traceEvents"];
}

/// Notes as generated code does it.
static void note(abi::ThreadProfile &profile, const abi::RegionTime &time) {
  profile.times[profile.count++ & profile.mask] = time;
}

TEST(Profile, NeedsAModelThatNotesTimes) {
  abi::Model model = sputnik_model;
  model.regionCount = 0;
  EXPECT_EQ(Profile::create(model, 2).error().message,
            "--profile: the model was compiled without --profile");
}

TEST(Profile, TellsWhatRan) {
  const std::unique_ptr<Engine> engine = test::makeEngine(2);
  Result<Profile> profile = Profile::create(engine->model(), 2);
  ASSERT_TRUE(profile);
  Session session(*engine);
  ASSERT_TRUE(session.feed(test::someTokens(1), {}));
  engine->setProfile(profile->threads());
  ASSERT_TRUE(session.feed(test::someTokens(1), {}));
  ASSERT_TRUE(session.feed(test::someTokens(1), {}));
  ASSERT_TRUE(session.feed(test::someTokens(20), {}));
  engine->setProfile(nullptr);
  ASSERT_TRUE(session.feed(test::someTokens(1), {}));

  std::map<std::string, int> events;
  for (const nlohmann::json &event : traceOf(*profile))
    if (event["ph"] == "X")
      ++events[event["cat"].get<std::string>() + " " +
               std::to_string(event["tid"].get<int>())];
  const std::map<std::string, int> expected = {
      {"decode 0", 2}, {"decode 1", 2}, {"prefill 0", 1}, {"prefill 1", 1}};
  EXPECT_EQ(events, expected);
}

TEST(Profile, GivesTimesOfAllThreads) {
  Result<Profile> profile = Profile::create(sputnik_model, 2);
  ASSERT_TRUE(profile);
  abi::ThreadProfile *threads = profile->threads();
  note(threads[0], {11000, 13000, 0, 7});
  note(threads[1], {12000, 15000, 0, 7});
  note(threads[0], {16000, 17000, 2, abi::kNoLayer});
  note(threads[1], {16000, 17000, 2, abi::kNoLayer});

  // 8192 bytes in 4 us; two threads were there for 5 of 8 us.
  EXPECT_EQ(profile->table(),
            "phase    region                           runs   median us     "
            "GB/s  idle %  time %\n"
            "decode   all                                 1         4.0      "
            "2.0    37.5    80.0\n"
            "prefill  all                                 1         1.0      "
            "8.2     0.0    20.0\n");

  const nlohmann::json trace = traceOf(*profile);
  ASSERT_EQ(trace.size(), 6u);
  EXPECT_EQ(trace[0]["args"]["name"], "thread 0");
  const nlohmann::json expected = {
      {"name", "all"}, {"cat", "decode"}, {"ph", "X"},    {"pid", 1},
      {"tid", 1},      {"ts", 1.0},       {"dur", 3.0},   {"args", {{"layer", 7}}}};
  EXPECT_EQ(trace[4], expected);
  EXPECT_FALSE(trace[5].contains("args"));
}

/// The rates in a model of one region, which ran once.
static std::vector<RegionRate> ratesOf(const abi::Region &region,
                                       const abi::RegionTime &time,
                                       const DevicePeaks &peaks,
                                       const StepLoad &decode,
                                       const StepLoad &prefill) {
  abi::Model model = sputnik_model;
  model.regions = &region;
  model.regionCount = 1;
  Result<Profile> profile = Profile::create(model, 1);
  EXPECT_TRUE(profile);
  note(*profile->threads(), time);
  return rateRegions(*profile, peaks, decode, prefill);
}

TEST(RegionRates, LeaveTheLaunchOutAndTakeTheNearerLimit) {
  const abi::Region region = {.name = "down",
                              .phase = "prefill",
                              .weightBytes = 1000,
                              .macs = 500,
                              .positionBytes = 10,
                              .positionMacs = 3,
                              .perOutput = 0};
  const std::vector<RegionRate> rates =
      ratesOf(region, {1000, 6000, 0, 0}, {1e9, 1e12, 1e-6}, {},
              {.rows = 4, .positions = 50});
  ASSERT_EQ(rates.size(), 1u);
  // 1500 bytes and 4 rows of 650 multiply-adds in 4 us.
  EXPECT_DOUBLE_EQ(rates[0].microseconds, 5);
  EXPECT_NEAR(rates[0].bytesPerSecond, 1500 / 4e-6, 1);
  EXPECT_NEAR(rates[0].operationsPerSecond, 2 * 4 * 650 / 4e-6, 1);
  EXPECT_NEAR(rates[0].fraction, 0.375, 1e-6);
  EXPECT_EQ(tableOf(rates, {1e9, 1e12, 1e-6}),
            "phase    region                           runs   median us     "
            "GB/s    TOP/s limit %  time %\n"
            "prefill  down                                1         5.0      "
            "0.4      0.0    37.5   100.0\n"
            "limits: 1.0 GB/s read, 1.0 TOP/s; of a median, 1.0 us are a kernel "
            "that does nothing, which rates leave out\n");
}

TEST(RegionRates, CountOneRowWhereOnlyOutputsCount) {
  const abi::Region region = {.name = "head",
                              .phase = "prefill",
                              .weightBytes = 1000,
                              .macs = 1000,
                              .positionBytes = 0,
                              .positionMacs = 0,
                              .perOutput = 1};
  const std::vector<RegionRate> rates =
      ratesOf(region, {1000, 3000, 0, abi::kNoLayer}, {1e9, 1e12, 0}, {},
              {.rows = 64, .positions = 32});
  ASSERT_EQ(rates.size(), 1u);
  EXPECT_NEAR(rates[0].operationsPerSecond, 2 * 1000 / 2e-6, 1);
}

TEST(RegionRates, StepsOfGuessesAreNoPrompt) {
  const abi::Region region = {.name = "attention",
                              .phase = "draft_verify",
                              .weightBytes = 1000,
                              .macs = 0,
                              .positionBytes = 10,
                              .positionMacs = 0,
                              .perOutput = 0};
  const std::vector<RegionRate> rates = ratesOf(
      region, {1000, 3000, 0, 0}, {1e9, 1e12, 0},
      {.rows = 1, .positions = 300}, {.rows = 64, .positions = 32});
  ASSERT_EQ(rates.size(), 1u);
  EXPECT_DOUBLE_EQ(rates[0].bytes, 4000);
}

TEST(Profile, KeepsTheLatest) {
  Result<Profile> profile = Profile::create(sputnik_model, 1);
  ASSERT_TRUE(profile);
  abi::ThreadProfile &thread = *profile->threads();
  const uint64_t capacity = thread.mask + 1;
  for (uint64_t i = 0; i < capacity + 5; ++i)
    note(thread, {1000 * i, 1000 * i + 500, 0, abi::kNoLayer});
  const nlohmann::json trace = traceOf(*profile);
  ASSERT_EQ(trace.size(), 1 + capacity);
  EXPECT_EQ(trace[1]["ts"], 0);
  EXPECT_EQ(trace.back()["ts"], capacity - 1);
}

TEST(Profile, IsEmptyWhereNothingRan) {
  Result<Profile> profile = Profile::create(sputnik_model, 1);
  ASSERT_TRUE(profile);
  EXPECT_EQ(traceOf(*profile).size(), 1u);
  EXPECT_EQ(profile->table().find('\n'), profile->table().size() - 1);
}

} // namespace sputnik::rt
