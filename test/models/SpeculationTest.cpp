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

class SpeculationTest : public testing::TestWithParam<const char *> {};

} // namespace

TEST_P(SpeculationTest, SaysTheSameInFewerSteps) {
  TemporaryFolder folder;
  std::string model = folder.path("model");
  run({SPUTNIK_PROGRAM, "compile", SPUTNIK_SOURCE_DIR "/models/tiny-r1-qwen",
       "-o", model, std::string("--quant=") + GetParam(), "--quiet"});
  ASSERT_FALSE(HasFailure());

  std::vector<Problem> problems = readHeldout();
  ASSERT_GE(problems.size(), 200u);
  std::atomic<int> tokens = 0, steps = 0, right = 0, wrong = 0;
  parallelFor(0, 200, [&](size_t i) {
    std::vector<std::string> command = {model, problems[i].prompt, "--seed",
                                        std::to_string(i)};
    for (const char *temperature : {"0", "0.6"}) {
      command.insert(command.end(), {"--temp", temperature});
      Answer plain = ask(command);
      EXPECT_EQ(plain.guesses, 0);
      command.insert(command.end(), {"--draft", "lookup"});
      Answer drafted = ask(command);
      command.resize(command.size() - 4);
      EXPECT_EQ(drafted.ids, plain.ids) << problems[i].prompt;
      tokens += drafted.tokens;
      steps += drafted.steps;
      right += drafted.right;
      wrong += drafted.guesses - drafted.right;
    }
  });
  std::printf("%d tokens in %d steps; %d guesses right, %d wrong\n",
              tokens.load(), steps.load(), right.load(), wrong.load());
  EXPECT_LT(steps, tokens);
  EXPECT_GT(right, 0);
  EXPECT_GT(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Quant, SpeculationTest, testing::Values("f32", "q4"),
                         [](const auto &info) {
                           return std::string(info.param);
                         });
