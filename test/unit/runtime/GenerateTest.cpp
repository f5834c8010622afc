//===- GenerateTest.cpp - Tests of generation and speculation -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Generate.h"
#include "FakeModel.h"
#include "SamplingReference.h"
#include "SomeModel.h"
#include "runtime/DraftHead.h"
#include "runtime/Interrupt.h"
#include "runtime/PromptLookup.h"

#include <csignal>
#include <gtest/gtest.h>
#include <map>

namespace sputnik::rt {

using test::makeEngine;
using test::someTokens;

namespace {
/// Everything that one generation gives.
struct Generated : Generation {
  std::vector<int32_t> ids;
};

/// Knows what the model says; of 100 guesses `percent` are right.
class Oracle : public Drafter {
public:
  Oracle(uint64_t percent, uint64_t seed) : percent(percent), random(seed) {}

  void begin(std::span<const int32_t> newText) override {
    text.assign(newText.begin(), newText.end());
  }
  void append(int32_t id) override { text.push_back(id); }
  Status stepped(int64_t, int64_t) override { return {}; }
  Result<std::vector<Guess>> guess(size_t most) override {
    std::vector<int32_t> ahead = text;
    std::vector<Guess> guesses;
    for (size_t i = 0; i < most; ++i) {
      ahead.push_back(random.next() % 100 < percent
                          ? test::fakeNext(ahead)
                          : static_cast<int32_t>('a' + random.next() % 26));
      guesses.push_back({ahead.back(), {}});
    }
    return guesses;
  }

private:
  const uint64_t percent;
  Random random;
  std::vector<int32_t> text;
};
} // namespace

static Generated generateFrom(Session &session, const std::vector<int32_t> &ids,
                              const GenerateOptions &options,
                              const SamplingOptions &sampling = {.temperature =
                                                                     0},
                              Drafter *drafter = nullptr) {
  Sampler sampler(sampling, test::fakeTokens);
  Generated generated;
  const Result<Generation> generation = generate(
      session, sampler, ids, options,
      [&](int32_t id) {
        generated.ids.push_back(id);
        return Status();
      },
      drafter);
  EXPECT_TRUE(generation);
  static_cast<Generation &>(generated) = *generation;
  EXPECT_EQ(generated.tokens, static_cast<int64_t>(generated.ids.size()));
  // What was generated is fed but for the last token.
  std::vector<int32_t> text = ids;
  text.insert(text.end(), generated.ids.begin(), generated.ids.end());
  if (!generated.ids.empty())
    text.pop_back();
  EXPECT_TRUE(generated.ids.empty() || session.tokens() == text);
  return generated;
}

/// What the rule says that greedy generation gives.
static std::vector<int32_t> expected(std::vector<int32_t> tokens, size_t count,
                                     bool stop) {
  std::vector<int32_t> ids;
  while (ids.size() < count) {
    ids.push_back(test::fakeNext(tokens));
    tokens.push_back(ids.back());
    if (stop && ids.back() == test::fakeEos)
      break;
  }
  return ids;
}

TEST(Generate, StopsAtTheEnd) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  const std::vector<int32_t> prompt = someTokens(5);
  const Generated generated =
      generateFrom(session, prompt, {-1, {7000, test::fakeEos}});
  EXPECT_EQ(generated.reason, StopReason::EndOfText);
  EXPECT_EQ(generated.ids, expected(prompt, 1000, true));
}

TEST(Generate, StopsAtTheLimit) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  const std::vector<int32_t> prompt = someTokens(5);
  Generated generated = generateFrom(session, prompt, {3, {}});
  EXPECT_EQ(generated.reason, StopReason::TokenLimit);
  EXPECT_EQ(generated.ids, expected(prompt, 3, false));
  session.truncate(0);
  generated = generateFrom(session, prompt, {0, {}});
  EXPECT_EQ(generated.reason, StopReason::TokenLimit);
  EXPECT_TRUE(generated.ids.empty());
}

TEST(Generate, StopsWhereTheContextEnds) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  std::vector<int32_t> prompt = someTokens(5);
  Generated generated = generateFrom(session, prompt, {-1, {}});
  EXPECT_EQ(generated.reason, StopReason::ContextFull);
  // The token after the last position can still be said.
  EXPECT_EQ(generated.ids, expected(prompt, test::fakeContext - 5 + 1, false));
  session.truncate(0);
  prompt = someTokens(test::fakeContext);
  generated = generateFrom(session, prompt, {-1, {}});
  EXPECT_EQ(generated.reason, StopReason::ContextFull);
  EXPECT_EQ(generated.ids.size(), 1u);
}

TEST(Generate, RefusesPromptsThatAreEmptyOrTooLong) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  Sampler sampler({.temperature = 0}, test::fakeTokens);
  const auto sink = [](int32_t) { return Status(); };
  EXPECT_EQ(generate(session, sampler, {}, {}, sink).error().message,
            "the prompt is empty: there is nothing to continue");
  EXPECT_EQ(
      generate(session, sampler, someTokens(test::fakeContext + 1), {}, sink)
          .error()
          .message,
      "the prompt has 257 tokens, the context holds 256");
}

TEST(Generate, PassesFailuresOn) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  Sampler sampler({.temperature = 0}, test::fakeTokens);
  const std::vector<int32_t> prompt = someTokens(5);
  const auto failing = [](int32_t) -> Status { return Error{"disk full"}; };
  EXPECT_EQ(generate(session, sampler, prompt, {}, failing).error().message,
            "disk full");
  test::fakeFaults.nan = true;
  const auto sink = [](int32_t) { return Status(); };
  EXPECT_EQ(generate(session, sampler, prompt, {}, sink).error().message,
            "the model's logit of token 0 is not a number");
  test::fakeFaults.nan = false;
}

TEST(Speculation, ChangesNothingButTheNumberOfSteps) {
  const std::unique_ptr<Engine> engine = makeEngine(1, 2);
  Session plainSession(*engine, 0), session(*engine, 1);
  int64_t tokens = 0, steps = 0, guesses = 0, right = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::vector<int32_t> prompt = someTokens(1 + seed % 60, seed);
    const GenerateOptions options = {
        seed % 4 == 0 ? -1 : static_cast<int64_t>(seed % 50),
        seed % 4 == 1 ? std::vector<int32_t>()
                      : std::vector<int32_t>{test::fakeEos}};
    for (double temperature : {0.0, 0.6, 20.0}) {
      const SamplingOptions sampling = {.temperature = temperature,
                                        .seed = seed};
      plainSession.truncate(0);
      const Generated plain =
          generateFrom(plainSession, prompt, options, sampling);
      Oracle oracle(seed % 101, seed);
      PromptLookup lookup;
      const std::initializer_list<Drafter *> drafters = {&oracle, &lookup};
      for (Drafter *drafter : drafters) {
        session.truncate(0);
        const Generated drafted =
            generateFrom(session, prompt, options, sampling, drafter);
        ASSERT_EQ(drafted.ids, plain.ids) << "seed " << seed;
        ASSERT_EQ(drafted.reason, plain.reason);
        ASSERT_LE(drafted.steps, plain.steps);
        tokens += drafted.tokens;
        steps += drafted.steps;
        guesses += drafted.guesses;
        right += drafted.right;
      }
    }
  }
  // A last token that was guessed leaves none for the logits after it.
  EXPECT_LE(tokens - steps, right);
  EXPECT_GT(right, 1000);
  EXPECT_GT(guesses - right, 1000);
}

TEST(Speculation, TakesAllOfAStep) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  Oracle oracle(100, 1);
  test::fakeCounts = {};
  const Generated generated = generateFrom(session, someTokens(5), {25, {}},
                                           {.temperature = 0}, &oracle);
  // One token from the prompt, then three times eight, each in a step.
  EXPECT_EQ(generated.steps, 4);
  EXPECT_EQ(generated.right, 21);
  EXPECT_EQ(generated.guesses, 21);
  EXPECT_EQ(test::fakeCounts.verify, 4);
  EXPECT_EQ(test::fakeCounts.decode, 0);
}

TEST(Speculation, FollowsAConversation) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  Oracle oracle(70, 3);
  std::vector<int32_t> text = someTokens(20);
  for (int answer = 0; answer < 4; ++answer) {
    const auto known = static_cast<size_t>(session.keepCommonPrefix(text));
    Sampler sampler({.temperature = 0}, test::fakeTokens);
    std::vector<int32_t> ids;
    ASSERT_TRUE(generate(
        session, sampler, std::span(text).subspan(known), {20, {}},
        [&](int32_t id) {
          ids.push_back(id);
          return Status();
        },
        &oracle));
    EXPECT_EQ(ids, expected(text, 20, false));
    // The next question changes the end of this answer.
    text.insert(text.end(), ids.begin(), ids.begin() + 10);
    text.push_back(answer);
  }
}

TEST(Speculation, LeavesNoGuessBehindWhenInterrupted) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  Oracle oracle(60, 5);
  Sampler sampler({.temperature = 0}, test::fakeTokens);
  std::vector<int32_t> text = someTokens(5);
  InterruptScope scope;
  const Result<Generation> generation = generate(
      session, sampler, std::vector<int32_t>(text), {},
      [&](int32_t id) {
        text.push_back(id);
        if (text.size() == 20)
          std::raise(SIGINT);
        return Status();
      },
      &oracle);
  clearInterrupt();
  ASSERT_TRUE(generation);
  EXPECT_EQ(generation->reason, StopReason::Interrupted);
  text.resize(static_cast<size_t>(session.length()));
  EXPECT_EQ(session.tokens(), text);
}

/// The value that chi-squared of `freedom` degrees exceeds once in a thousand
/// times (Wilson and Hilferty 1931).
static double chiSquaredLimit(double freedom) {
  const double part = 2 / (9 * freedom);
  return freedom * std::pow(1 - part + 3.0902 * std::sqrt(part), 3);
}

/// Compares counts with a distribution over the ids.
static void expectDrawnFrom(const std::map<int32_t, int> &counts,
                            const std::vector<double> &wanted) {
  int draws = 0;
  for (auto [id, count] : counts) {
    EXPECT_GT(wanted[static_cast<size_t>(id)], 0) << "id " << id;
    draws += count;
  }
  ASSERT_GT(draws, 2000);
  double sum = 0, restWanted = 0;
  int rest = 0, bins = 0;
  const auto add = [&](double expected, int count) {
    if (expected <= 0)
      return;
    sum += (count - expected) * (count - expected) / expected;
    ++bins;
  };
  for (size_t id = 0; id < wanted.size(); ++id) {
    const auto found = counts.find(static_cast<int32_t>(id));
    const int count = found == counts.end() ? 0 : found->second;
    const double expected = wanted[id] * draws;
    if (expected >= 5) {
      add(expected, count);
    } else {
      restWanted += expected;
      rest += count;
    }
  }
  add(restWanted, rest);
  ASSERT_GT(bins, 5);
  EXPECT_LT(sum, chiSquaredLimit(bins - 1));
}

static std::vector<double> distributionAfter(const std::vector<int32_t> &text,
                                             const SamplingOptions &sampling) {
  std::vector<float> logits;
  for (int32_t id = 0; id < test::fakeTokens; ++id)
    logits.push_back(test::fakeLogit(text, id));
  return test::referenceDistribution(logits, sampling);
}

/// Makes a drafter that may draw from the sampler.
using MakeDrafter =
    std::function<std::unique_ptr<Drafter>(Session &, Sampler &)>;

/// Compares the second and third token of many answers with what the sampler
/// draws them from without guesses.
static void expectSameDistributions(const std::unique_ptr<Engine> &engine,
                                    const MakeDrafter &make) {
  test::fakeLead = 3;
  Session session(*engine);
  const std::vector<int32_t> prompt = someTokens(5);
  SamplingOptions sampling = {.temperature = 0.6, .topK = 40, .topP = 0.95};
  std::vector<int32_t> once = prompt;
  once.push_back(test::fakeNext(once));
  std::vector<int32_t> twice = once;
  twice.push_back(test::fakeNext(twice));
  std::map<int32_t, int> second, third;
  int64_t right = 0, guesses = 0;
  for (sampling.seed = 0; sampling.seed < 20000; ++sampling.seed) {
    Sampler sampler(sampling, test::fakeTokens);
    const std::unique_ptr<Drafter> drafter = make(session, sampler);
    session.truncate(0);
    std::vector<int32_t> ids;
    const Result<Generation> generation = generate(
        session, sampler, prompt, {4, {}},
        [&](int32_t id) {
          ids.push_back(id);
          return Status();
        },
        drafter.get());
    ASSERT_TRUE(generation);
    right += generation->right;
    guesses += generation->guesses;
    if (ids[0] != once.back())
      continue;
    ++second[ids[1]];
    if (ids[1] == twice.back())
      ++third[ids[2]];
  }
  expectDrawnFrom(second, distributionAfter(once, sampling));
  expectDrawnFrom(third, distributionAfter(twice, sampling));
  EXPECT_GT(right, 1000);
  EXPECT_GT(guesses - right, 1000);
  test::fakeLead = 16;
}

TEST(Speculation, KeepsTheDistribution) {
  uint64_t seed = 0;
  expectSameDistributions(makeEngine(1), [&](Session &, Sampler &) {
    return std::make_unique<Oracle>(80, seed++);
  });
}

TEST(DraftHead, KeepsTheDistribution) {
  const abi::Model model = test::fakeModelWithHead();
  expectSameDistributions(
      makeEngine(1, 1, model), [](Session &session, Sampler &sampler) {
        return std::make_unique<DraftHead>(session.engine(), 0, sampler, 2);
      });
}

TEST(DraftHead, ReadsAllOfTheText) {
  const abi::Model model = test::fakeModelWithHead();
  const std::unique_ptr<Engine> engine = makeEngine(2, 2, model);
  for (size_t length : {1, 2, 8, 9, 47, 48, 49, 100, 120}) {
    for (size_t most : {1, 2, 7, 20}) {
      Session session(*engine, 1);
      Sampler sampler({.temperature = 0}, test::fakeTokens);
      DraftHead head(*engine, 1, sampler, most);
      const std::vector<int32_t> prompt = someTokens(length, length);
      std::vector<int32_t> ids;
      const Result<Generation> generation = generate(
          session, sampler, prompt, {60, {}},
          [&](int32_t id) {
            ids.push_back(id);
            return Status();
          },
          &head);
      ASSERT_TRUE(generation);
      EXPECT_EQ(ids, expected(prompt, 60, false));
      // Of a step's guesses none counts after the first wrong one.
      if (most == 1) {
        EXPECT_GT(generation->right, generation->guesses * 6 / 10);
      }
      EXPECT_GT(generation->tokensPerStep(), most == 1 ? 1.6 : 2.0)
          << length << " tokens, " << most << " guesses";
    }
  }
}

TEST(DraftHead, FollowsAConversation) {
  const abi::Model model = test::fakeModelWithHead();
  const std::unique_ptr<Engine> engine = makeEngine(2, 1, model);
  Session session(*engine);
  Sampler sampler({.temperature = 0}, test::fakeTokens);
  DraftHead head(*engine, 0, sampler, 3);
  std::vector<int32_t> text = someTokens(20);
  for (int answer = 0; answer < 4; ++answer) {
    const auto known = static_cast<size_t>(session.keepCommonPrefix(text));
    std::vector<int32_t> ids;
    ASSERT_TRUE(generate(
        session, sampler, std::span(text).subspan(known), {20, {}},
        [&](int32_t id) {
          ids.push_back(id);
          return Status();
        },
        &head));
    EXPECT_EQ(ids, expected(text, 20, false));
    text.insert(text.end(), ids.begin(), ids.begin() + 10);
    text.push_back(answer);
  }
}

} // namespace sputnik::rt
