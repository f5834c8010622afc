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

class HeldoutTest : public testing::TestWithParam<const char *> {};

} // namespace

TEST_P(HeldoutTest, AnswersAtLeast98Percent) {
  std::vector<Problem> problems = readHeldout();
  StringSet<> prompts;
  for (const Problem &problem : problems)
    prompts.insert(problem.prompt);
  ASSERT_EQ(prompts.size(), 500u);

  TemporaryFolder folder;
  std::string model = folder.path("model");
  run({SPUTNIK_PROGRAM, "compile", SPUTNIK_SOURCE_DIR "/models/tiny-r1-qwen",
       "-o", model, std::string("--quant=") + GetParam(), "--quiet"});
  ASSERT_FALSE(HasFailure());

  std::atomic<int> right = 0, thought = 0;
  parallelFor(0, problems.size(), [&](size_t i) {
    const Problem &problem = problems[i];
    std::string text =
        run({model, problem.prompt, "--temp", "0", "--threads", "1"});
    auto [thinking, answer] = StringRef(text).rsplit("</think>");
    thought += !thinking.trim().empty();
    right += answer.trim() == problem.answer;
  });
  RecordProperty("right", right);
  std::printf("%d of %zu right\n", right.load(), problems.size());
  EXPECT_GE(right * 100, 98 * static_cast<int>(problems.size()));
  EXPECT_EQ(thought, static_cast<int>(problems.size()));
}

INSTANTIATE_TEST_SUITE_P(Quant, HeldoutTest, testing::Values("f32", "bf16"),
                         [](const auto &info) {
                           return std::string(info.param);
                         });
