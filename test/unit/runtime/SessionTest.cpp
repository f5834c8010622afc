//===- SessionTest.cpp - Tests of steps, sessions and generation ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Session.h"
#include "FakeModel.h"
#include "runtime/Generate.h"
#include "runtime/Random.h"

#include <gtest/gtest.h>

namespace sputnik::rt {

using test::fakeVocabulary;

static std::unique_ptr<Engine> makeEngine(int64_t threads = 2,
                                          int64_t slots = 1) {
  Result<std::unique_ptr<Engine>> engine = Engine::create(
      {sputnik_model, sputnik_image_address(), 0}, threads, slots);
  EXPECT_TRUE(engine) << engine.error().message;
  return std::move(*engine);
}

static std::vector<int32_t> someTokens(size_t count, uint64_t seed = 1) {
  Random random(seed);
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % test::fakeTokens));
  return tokens;
}

static void expectRow(std::span<const int32_t> tokens, const float *logits) {
  for (int32_t id = 0; id < fakeVocabulary; ++id)
    ASSERT_EQ(logits[id], test::fakeLogit(tokens, id))
        << tokens.size() << " tokens, id " << id;
}

TEST(Session, LogitsDoNotDependOnHowThePromptIsCut) {
  const std::vector<int32_t> tokens = someTokens(200);
  struct Case {
    int64_t threads;
    std::vector<size_t> parts;
  };
  // Many threads only now and then: where they outnumber the processors, each
  // barrier costs time slices.
  const Case cases[] = {{1, {1, 2, 7, 8, 9, 47, 48, 49, 97, 200}},
                        {2, {1, 9, 49, 200}},
                        {5, {49}}};
  for (const Case &c : cases) {
    const std::unique_ptr<Engine> engine = makeEngine(c.threads);
    for (size_t part : c.parts) {
      Session session(*engine);
      std::vector<float> logits(fakeVocabulary);
      for (size_t at = 0; at < tokens.size(); at += part) {
        const size_t end = std::min(tokens.size(), at + part);
        ASSERT_TRUE(
            session.feed(std::span(tokens).subspan(at, end - at), logits));
        expectRow(std::span(tokens).first(end), logits.data());
      }
      EXPECT_EQ(session.tokens(), tokens);
    }
  }
}

TEST(Session, TakesThePhaseForTheNumberOfRows) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  test::fakeCounts = {};
  // 2 * 48 rows, then 1; 8; 9.
  ASSERT_TRUE(session.feed(someTokens(97), {}));
  ASSERT_TRUE(session.feed(someTokens(8), {}));
  ASSERT_TRUE(session.feed(someTokens(9), {}));
  EXPECT_EQ(test::fakeCounts.prefill, 3);
  EXPECT_EQ(test::fakeCounts.verify, 1);
  EXPECT_EQ(test::fakeCounts.decode, 1);
}

TEST(Session, FeedAllGivesEveryRowInOrder) {
  const std::vector<int32_t> tokens = someTokens(130);
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  int64_t next = 0;
  ASSERT_TRUE(session.feedAll(
      tokens, [&](int64_t first, int64_t count, const float *logits) {
        EXPECT_EQ(first, next);
        for (int64_t i = 0; i < count; ++i)
          expectRow(std::span(tokens).first(static_cast<size_t>(first + i) + 1),
                    logits + i * fakeVocabulary);
        next = first + count;
        return Status();
      }));
  EXPECT_EQ(next, 130);
}

TEST(Session, SlotsDoNotMix) {
  const std::unique_ptr<Engine> engine = makeEngine(2, 3);
  std::vector<std::vector<int32_t>> tokens;
  std::vector<Session> sessions;
  for (int32_t slot = 0; slot < 3; ++slot) {
    tokens.push_back(someTokens(40, static_cast<uint64_t>(slot)));
    sessions.emplace_back(*engine, slot);
  }
  std::vector<float> logits(fakeVocabulary);
  for (size_t at = 0; at < 40; at += 10)
    for (size_t slot = 0; slot < 3; ++slot) {
      ASSERT_TRUE(
          sessions[slot].feed(std::span(tokens[slot]).subspan(at, 10), logits));
      expectRow(std::span(tokens[slot]).first(at + 10), logits.data());
    }
}

TEST(Session, ForgettingGivesTheCacheBack) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  ASSERT_TRUE(session.feed(someTokens(100), {}));
  session.truncate(0);
  const auto *cache =
      reinterpret_cast<const int32_t *>(engine->cache().pointers()[0]);
  for (int at = 0; at < 100; ++at)
    ASSERT_EQ(cache[at], 0);
  std::vector<float> logits(fakeVocabulary);
  const std::vector<int32_t> tokens = someTokens(3, 9);
  ASSERT_TRUE(session.feed(tokens, logits));
  expectRow(tokens, logits.data());
}

TEST(Session, KeepsWhatIsCommon) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  std::vector<int32_t> tokens = someTokens(20);
  ASSERT_TRUE(session.feed(tokens, {}));
  tokens[12] ^= 1;
  EXPECT_EQ(session.keepCommonPrefix(tokens), 12);
  std::vector<float> logits(fakeVocabulary);
  ASSERT_TRUE(session.feed(std::span(tokens).subspan(12), logits));
  expectRow(tokens, logits.data());
  // One token is left to be fed even if all are known.
  EXPECT_EQ(session.keepCommonPrefix(tokens), 19);
  EXPECT_EQ(session.keepCommonPrefix({}), 0);
}

TEST(Session, SaysThatTheContextIsFull) {
  const std::unique_ptr<Engine> engine = makeEngine();
  Session session(*engine);
  ASSERT_TRUE(session.feed(someTokens(250), {}));
  EXPECT_EQ(session.room(), 6);
  const Status status = session.feed(someTokens(7), {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "257 tokens do not fit the context of 256 tokens");
  EXPECT_EQ(session.length(), 250);
  EXPECT_TRUE(session.feed(someTokens(6), {}));
}

TEST(Engine, RefusesRowsThatDoNotExist) {
  const std::unique_ptr<Engine> engine = makeEngine();
  const auto failure = [&](int32_t token, int32_t slot, int32_t position) {
    const Status status = engine->forward({.tokens = {&token, 1},
                                           .slots = {&slot, 1},
                                           .positions = {&position, 1},
                                           .outputs = {}});
    return status ? "" : status.error().message;
  };
  EXPECT_EQ(failure(0, 0, 0), "");
  EXPECT_EQ(failure(272, 0, 0),
            "token id 272 is outside the model's vocabulary of 272");
  EXPECT_NE(failure(-1, 0, 0), "");
  EXPECT_EQ(failure(0, 1, 0), "slot 1; there are 1");
  EXPECT_NE(failure(0, -1, 0), "");
  EXPECT_EQ(failure(0, 0, 256),
            "position 256 is outside the context of 256 tokens");
  EXPECT_FALSE(engine->forward({}));
}

TEST(Engine, RefusesAModelOfAnotherVersion) {
  abi::Model model = sputnik_model;
  ++model.version;
  const auto engine = Engine::create({model, sputnik_image_address(), 0}, 1);
  EXPECT_FALSE(engine);
}

TEST(Engine, SaysThatTheAddressSpaceIsTooSmall) {
  abi::Model model = sputnik_model;
  model.cacheBytes = uint64_t{1} << 60;
  const auto engine = Engine::create({model, sputnik_image_address(), 0}, 1);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().message,
            "cannot reserve 1152921504606846976 bytes for the cache of 256 "
            "positions: Cannot allocate memory");
  model = sputnik_model;
  model.decode.scratchBytes = ~uint64_t{0};
  EXPECT_FALSE(Engine::create({model, sputnik_image_address(), 0}, 2));
}

namespace {
/// Everything that one generation gives.
struct Generated {
  std::vector<int32_t> ids;
  StopReason reason;
};
} // namespace

static Generated generateFrom(Session &session, const std::vector<int32_t> &ids,
                              const GenerateOptions &options) {
  Sampler sampler({.temperature = 0}, test::fakeTokens);
  Generated generated;
  const Result<StopReason> reason =
      generate(session, sampler, ids, options, [&](int32_t id) {
        generated.ids.push_back(id);
        return Status();
      });
  EXPECT_TRUE(reason);
  generated.reason = *reason;
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

} // namespace sputnik::rt
