//===- DraftHead.h - Guesses of the model's own draft head ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_DRAFTHEAD_H
#define SPUTNIK_RUNTIME_DRAFTHEAD_H

#include "runtime/Drafter.h"
#include "runtime/Engine.h"

namespace sputnik::rt {

/// Draws guesses from what the model's draft head makes of the states that the
/// model's steps leave (multi-token prediction). The head has a part in the
/// slot's cache, so it reads the prompt as well; further guesses go on from the
/// state that the head itself leaves.
class DraftHead : public Drafter {
public:
  /// For the conversation in `slot`; at most `tokens` guesses for a step.
  /// `engine`'s model must have a draft head.
  DraftHead(Engine &engine, int32_t slot, Sampler &sampler, size_t tokens);

  void begin(std::span<const int32_t> text) override;
  void append(int32_t id) override { text.push_back(id); }
  Status stepped(int64_t first, int64_t count) override;
  Result<std::vector<Guess>> guess(size_t most) override;

private:
  /// Makes a step of the head over the states of `tokens.size()` rows, of which
  /// the first is at `position`, with the token after each. With `wantLogits`
  /// those of the last are computed.
  Status step(std::span<const int32_t> tokens, int64_t position,
              bool wantLogits);

  Engine &engine;
  Sampler &sampler;
  const size_t tokens;
  std::vector<int32_t> text;
  /// Index in the text of the first row whose state the head has not read yet.
  int64_t unread = 0;
  std::vector<int32_t> slots, positions;
  std::vector<float> logits;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_DRAFTHEAD_H
