//===- SpeculationTest.cpp - The bundled model with and without guesses ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "test/models/Heldout.h"
#include "test/models/Process.h"
#include "test/models/Stats.h"
#include "llvm/Support/Parallel.h"

#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>

using namespace llvm;
using namespace sputnik;

namespace {

/// What `--print-ids --stats` say.
struct Answer : Stats {
  std::string ids;
};

Answer ask(std::vector<std::string> command) {
  command.insert(command.end(),
                 {"--threads", "1", "--print-ids", "--stats"});
  Outcome outcome = execute(command);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return {readStats(outcome.err), outcome.out};
}

struct Case {
  const char *name, *model, *quant;
  std::vector<std::string> draft;
  /// Of 100 guesses at least so many are right.
  int right;
};

class SpeculationTest : public testing::TestWithParam<Case> {};

} // namespace

static void compile(const char *model, const char *quant,
                    const std::string &output) {
  run({SPUTNIK_PROGRAM, "compile",
       std::string(SPUTNIK_SOURCE_DIR "/models/") + model, "-o", output,
       std::string("--quant=") + quant, "--quiet"});
}

TEST_P(SpeculationTest, SaysTheSameInFewerSteps) {
  const Case &c = GetParam();
  TemporaryFolder folder;
  std::string model = folder.path("model");
  compile(c.model, c.quant, model);
  ASSERT_FALSE(HasFailure());

  std::vector<Problem> problems = readHeldout();
  ASSERT_GE(problems.size(), 200u);
  std::atomic<int> tokens = 0, steps = 0, right = 0, guesses = 0;
  parallelFor(0, 200, [&](size_t i) {
    std::vector<std::string> command = {model, problems[i].prompt, "--temp",
                                        "0"};
    std::vector<std::string> without = command;
    without.insert(without.end(), {"--draft", "off"});
    command.insert(command.end(), c.draft.begin(), c.draft.end());
    Answer plain = ask(without), drafted = ask(command);
    EXPECT_EQ(plain.guesses, 0);
    EXPECT_EQ(drafted.ids, plain.ids) << problems[i].prompt;
    tokens += drafted.tokens;
    steps += drafted.steps;
    right += drafted.right;
    guesses += drafted.guesses;
  });
  std::printf("%d tokens in %d steps; %d of %d guesses right\n", tokens.load(),
              steps.load(), right.load(), guesses.load());
  EXPECT_LT(steps, tokens);
  EXPECT_GE(right * 100, c.right * guesses);
}

/// How often the second and third token of an answer at temperature 0.6 were
/// which, over as many seeds from `seed` on.
static std::map<std::string, int> draw(const std::string &model,
                                       const std::string &draft, int seed,
                                       int draws, Stats &stats) {
  std::map<std::string, int> counts;
  std::mutex mutex;
  parallelFor(0, draws, [&](size_t i) {
    const Answer answer =
        ask({model, "run", "--ids", "280,20,280", "-n", "3", "--temp", "0.6",
             "--top-p", "1", "--seed", std::to_string(seed + i), "--ignore-eos",
             "--draft", draft});
    std::lock_guard lock(mutex);
    ++counts[StringRef(answer.ids).trim().split(',').second.str()];
    stats.right += answer.right;
    stats.guesses += answer.guesses;
  });
  return counts;
}

TEST(SpeculationDistributionTest, DrawsFromTheDistributionOfPlainSampling) {
  TemporaryFolder folder;
  std::string model = folder.path("model");
  compile("tiny-r1", "f32", model);
  ASSERT_FALSE(HasFailure());
  constexpr int draws = 1000;
  Stats plain, drafted;
  std::map<std::string, std::array<int, 2>> counts;
  for (auto [tokens, count] : draw(model, "off", 1, draws, plain))
    counts[tokens][0] = count;
  for (auto [tokens, count] : draw(model, "1", 1 + draws, draws, drafted))
    counts[tokens][1] = count;
  // The text is none that the model knows: guesses are right and wrong.
  EXPECT_EQ(plain.guesses, 0);
  EXPECT_GT(drafted.right, draws / 20);
  EXPECT_GT(drafted.guesses - drafted.right, draws / 20);

  // Two samples of one size from one distribution; what is rare counts together.
  double sum = 0;
  int bins = 0;
  const auto add = [&](std::array<int, 2> found) {
    const double expected = 0.5 * (found[0] + found[1]);
    if (expected == 0)
      return;
    for (int count : found)
      sum += (count - expected) * (count - expected) / expected;
    ++bins;
  };
  std::array<int, 2> rare = {};
  for (const auto &[tokens, found] : counts)
    if (found[0] + found[1] >= 10)
      add(found);
    else
      rare = {rare[0] + found[0], rare[1] + found[1]};
  add(rare);
  // What chi-squared exceeds once in a thousand times (Wilson and Hilferty 1931).
  const double freedom = bins - 1, part = 2 / (9 * freedom);
  const double limit =
      freedom * std::pow(1 - part + 3.0902 * std::sqrt(part), 3);
  std::printf("chi-squared %.1f of %d bins, at most %.1f; %d of %d guesses "
              "right\n",
              sum, bins, limit, drafted.right, drafted.guesses);
  EXPECT_GT(bins, 5);
  EXPECT_LT(sum, limit);
}

INSTANTIATE_TEST_SUITE_P(
    Models, SpeculationTest,
    testing::Values(
        Case{"lookup_f32", "tiny-r1-qwen", "f32", {"--draft", "lookup"}, 1},
        Case{"lookup_q4", "tiny-r1-qwen", "q4", {"--draft", "lookup"}, 1},
        Case{"head_f32", "tiny-r1", "f32", {}, 80},
        Case{"head_q4", "tiny-r1", "q4", {"--draft", "3"}, 50}),
    [](const auto &info) { return std::string(info.param.name); });
