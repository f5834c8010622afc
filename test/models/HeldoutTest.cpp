//===- HeldoutTest.cpp - The bundled model on problems it never saw -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "test/models/Heldout.h"
#include "test/models/Process.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Parallel.h"

#include <atomic>

using namespace llvm;
using namespace sputnik;

namespace {

/// How many of the problems the model answers in a format; all answers must have
/// been thought about.
int countRight(ArrayRef<Problem> problems, const std::string &format) {
  TemporaryFolder folder;
  std::string model = folder.path("model");
  run({SPUTNIK_PROGRAM, "compile", SPUTNIK_SOURCE_DIR "/models/tiny-r1-qwen",
       "-o", model, "--quant=" + format, "--quiet"});
  if (testing::Test::HasFailure())
    return 0;
  std::atomic<int> right = 0, thought = 0;
  parallelFor(0, problems.size(), [&](size_t i) {
    const Problem &problem = problems[i];
    std::string text =
        run({model, problem.prompt, "--temp", "0", "--threads", "1"});
    auto [thinking, answer] = StringRef(text).rsplit("</think>");
    thought += !thinking.trim().empty();
    right += answer.trim() == problem.answer;
  });
  std::printf("%s: %d of %zu right\n", format.c_str(), right.load(),
              problems.size());
  EXPECT_EQ(thought, static_cast<int>(problems.size()));
  return right;
}

} // namespace

TEST(HeldoutTest, AnswersAreRightInEveryFormat) {
  std::vector<Problem> problems = readHeldout();
  StringSet<> prompts;
  for (const Problem &problem : problems)
    prompts.insert(problem.prompt);
  ASSERT_EQ(prompts.size(), 500u);

  // Of 500, one point is five.
  const int exact = countRight(problems, "f32");
  EXPECT_GE(exact, 490);
  EXPECT_GE(countRight(problems, "bf16"), 490);
  EXPECT_GE(2 * countRight(problems, "q8"), 2 * exact - 5);
  EXPECT_GE(countRight(problems, "q4"), exact - 10);
}
