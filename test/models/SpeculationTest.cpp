//===- SpeculationTest.cpp - The bundled model with and without guesses ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "test/models/Heldout.h"
#include "test/models/Process.h"
#include "llvm/Support/Parallel.h"

#include <atomic>

using namespace llvm;
using namespace sputnik;

namespace {

/// What `--print-ids --stats` say.
struct Answer {
  std::string ids;
  int tokens, steps, right, guesses;
};

Answer ask(std::vector<std::string> command) {
  command.insert(command.end(),
                 {"--threads", "1", "--print-ids", "--stats"});
  Outcome outcome = execute(command);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  Answer answer = {outcome.out};
  EXPECT_EQ(std::sscanf(outcome.err.c_str(),
                        "stats: %d tokens in %d steps, %*f a step; %d of %d",
                        &answer.tokens, &answer.steps, &answer.right,
                        &answer.guesses),
            4)
      << outcome.err;
  return answer;
}

struct Case {
  const char *name, *model, *quant;
  std::vector<std::string> draft;
  /// Of 100 guesses at least so many are right.
  int right;
};

class SpeculationTest : public testing::TestWithParam<Case> {};

} // namespace

TEST_P(SpeculationTest, SaysTheSameInFewerSteps) {
  const Case &c = GetParam();
  TemporaryFolder folder;
  std::string model = folder.path("model");
  run({SPUTNIK_PROGRAM, "compile",
       std::string(SPUTNIK_SOURCE_DIR "/models/") + c.model, "-o", model,
       std::string("--quant=") + c.quant, "--quiet"});
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

INSTANTIATE_TEST_SUITE_P(
    Models, SpeculationTest,
    testing::Values(
        Case{"lookup_f32", "tiny-r1-qwen", "f32", {"--draft", "lookup"}, 1},
        Case{"lookup_q4", "tiny-r1-qwen", "q4", {"--draft", "lookup"}, 1},
        Case{"head_f32", "tiny-r1", "f32", {}, 80},
        Case{"head_q4", "tiny-r1", "q4", {"--draft", "3"}, 50}),
    [](const auto &info) { return std::string(info.param.name); });
