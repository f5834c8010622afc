//===- SessionTest.cpp - Tests of steps and sessions ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Session.h"
#include "FakeModel.h"
#include "SomeModel.h"

#include <gtest/gtest.h>

namespace sputnik::rt {

using test::fakeVocabulary;
using test::makeEngine;
using test::someTokens;

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

TEST(Session, FeedGivesTheLastRows) {
  const std::vector<int32_t> tokens = someTokens(100);
  const std::unique_ptr<Engine> engine = makeEngine();
  for (size_t count : {0, 1, 3, 4, 5, 60, 100}) {
    Session session(*engine);
    std::vector<float> logits(count * fakeVocabulary);
    ASSERT_TRUE(session.feed(tokens, logits));
    for (size_t i = 0; i < count; ++i)
      expectRow(std::span(tokens).first(100 - count + i + 1),
                logits.data() + i * fakeVocabulary);
  }
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
  const auto engine = Engine::create({model, sputnik_image_address(), 0}, {.threads = 1});
  EXPECT_FALSE(engine);
}

TEST(Engine, SaysThatTheAddressSpaceIsTooSmall) {
  abi::Model model = sputnik_model;
  model.cacheBytes = uint64_t{1} << 60;
  const auto engine = Engine::create({model, sputnik_image_address(), 0}, {.threads = 1});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().message,
            "cannot reserve 1152921504606846976 bytes for the cache of 256 "
            "positions: Cannot allocate memory");
  model = sputnik_model;
  model.decode.scratchBytes = ~uint64_t{0};
  EXPECT_FALSE(Engine::create({model, sputnik_image_address(), 0}, {.threads = 2}));
}

} // namespace sputnik::rt
