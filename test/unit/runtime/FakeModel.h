//===- FakeModel.h - A model without a compiler ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Defines `sputnik_model` by hand, so that the runtime can be tested on its
// own. What the model says next depends on every token before it and on where
// each of them is, through the cache; a wrong position, slot, chunk or stale
// cache therefore changes the answer, and a position that was never written
// makes the logits NaN.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_TEST_UNIT_RUNTIME_FAKEMODEL_H
#define SPUTNIK_TEST_UNIT_RUNTIME_FAKEMODEL_H

#include "runtime/Abi.h"

#include <cstdint>
#include <span>

namespace sputnik::test {

/// Ids 0 to 255 are the bytes; then come the control tokens; the model has some
/// more rows of logits, which are always the largest.
enum FakeToken : int32_t {
  fakeBos = 256,
  fakeEos = 257,
  fakeUser = 258,
  fakeAssistant = 259,
  fakeThink = 260,
  fakeEndThink = 261,
  fakeTokens = 262,
  fakeVocabulary = 272,
};

inline constexpr int64_t fakeContext = 256;
inline constexpr uint64_t fakeWeightBytes = 8192;
inline constexpr int64_t fakePrefillRows = 48;

/// What the fake model makes of a text. After the token at index 31 (63, ...)
/// it ends, after the one at index 15 (47, ...) it ends thinking, else it says
/// a letter.
int32_t fakeNext(std::span<const int32_t> tokens);

/// The logit of `id` after `tokens`.
float fakeLogit(std::span<const int32_t> tokens, int32_t id);

/// Lets the model misbehave.
struct FakeFaults {
  bool nan = false; ///< All logits are NaN.
};
extern FakeFaults fakeFaults;

/// The logit of what fakeNext gives; the others are between 0 and 1.
extern float fakeLead;

/// How often each phase was entered, by thread 0.
struct FakeCounts {
  int decode, verify, prefill, draftVerify, draftPrefill;
};
extern FakeCounts fakeCounts;

/// The fake model with its weights elsewhere.
abi::Model fakeModelWith(abi::WeightSource source);

/// The fake model with a draft head. It knows what the model says, unless a
/// state is not that of its row or the head has not read all rows before:
/// then, and where a text's sum is a multiple of 5, it guesses `?`.
abi::Model fakeModelWithHead();

} // namespace sputnik::test

#endif // SPUTNIK_TEST_UNIT_RUNTIME_FAKEMODEL_H
