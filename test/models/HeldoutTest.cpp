//===- HeldoutTest.cpp - The bundled models on problems they never saw ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "test/models/Heldout.h"
#include "test/models/Process.h"
#include "test/models/Stats.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Parallel.h"

#include <atomic>

using namespace llvm;
using namespace sputnik;

namespace {

/// Answers that are right, and the guesses of a draft head on the way.
struct Score {
  int answers = 0, right = 0, guesses = 0;
};

/// What the model makes of the problems in a format; all answers must have been
/// thought about.
Score score(ArrayRef<Problem> problems, const std::string &name,
            const std::string &format) {
  TemporaryFolder folder;
  std::string model = folder.path("model");
  run({SPUTNIK_PROGRAM, "compile", SPUTNIK_SOURCE_DIR "/models/" + name, "-o",
       model, "--quant=" + format, "--quiet"});
  if (testing::Test::HasFailure())
    return {};
  std::atomic<int> answers = 0, thought = 0, right = 0, guesses = 0;
  parallelFor(0, problems.size(), [&](size_t i) {
    const Problem &problem = problems[i];
    Outcome outcome = execute({model, problem.prompt, "--temp", "0",
                               "--threads", "1", "--stats"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const Stats stats = readStats(outcome.err);
    right += stats.right;
    guesses += stats.guesses;
    auto [thinking, answer] = StringRef(outcome.out).rsplit("</think>");
    thought += !thinking.trim().empty();
    answers += answer.trim() == problem.answer;
  });
  std::printf("%s in %s: %d of %zu answers, %d of %d guesses right\n",
              name.c_str(), format.c_str(), answers.load(), problems.size(),
              right.load(), guesses.load());
  EXPECT_EQ(thought, static_cast<int>(problems.size()));
  return {answers, right, guesses};
}

std::vector<Problem> readDistinct() {
  std::vector<Problem> problems = readHeldout();
  StringSet<> prompts;
  for (const Problem &problem : problems)
    prompts.insert(problem.prompt);
  EXPECT_EQ(prompts.size(), 500u);
  return problems;
}

} // namespace

TEST(HeldoutTest, AnswersAreRightInEveryFormat) {
  const std::vector<Problem> problems = readDistinct();
  const auto right = [&](const char *format) {
    return score(problems, "tiny-r1-qwen", format).answers;
  };
  // Of 500, one point is five.
  const int exact = right("f32");
  EXPECT_GE(exact, 490);
  EXPECT_GE(right("bf16"), 490);
  EXPECT_GE(2 * right("q8"), 2 * exact - 5);
  EXPECT_GE(right("q4"), exact - 10);
}

TEST(HeldoutTest, MixtureAndItsDraftHead) {
  const std::vector<Problem> problems = readDistinct();
  for (const char *format : {"f32", "fp8", "q4"}) {
    const Score found = score(problems, "tiny-r1", format);
    EXPECT_GE(found.answers, 490) << format;
    EXPECT_GT(found.guesses, 0) << format;
    EXPECT_GE(100 * found.right, 80 * found.guesses) << format;
  }
}
