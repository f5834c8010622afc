//===- Session.h - One conversation in a slot -----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_SESSION_H
#define SPUTNIK_RUNTIME_SESSION_H

#include "runtime/Engine.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace sputnik::rt {

/// The tokens that a slot's cache holds, and how more are added to them.
class Session {
public:
  /// Takes over `slot`, whose cache it clears.
  explicit Session(Engine &engine, int32_t slot = 0);

  Engine &engine() { return theEngine; }
  int32_t slotNumber() const { return slot; }
  const std::vector<int32_t> &tokens() const { return held; }
  int64_t length() const { return static_cast<int64_t>(held.size()); }
  /// How many more tokens fit.
  int64_t room() const { return theEngine.model().maxContext - length(); }

  /// Takes note of a token that the model's device has fed by itself.
  void noteFed(int32_t token) { held.push_back(token); }

  /// Forgets all tokens but the first `count`; with 0 the cache's memory is
  /// given back.
  void truncate(int64_t count);

  /// Truncates to the longest beginning that `wanted` shares; returns its
  /// length. At least the last token of `wanted` is left to be fed, so that
  /// logits can be had.
  int64_t keepCommonPrefix(std::span<const int32_t> wanted);

  /// Appends `tokens`, in steps as large as the model allows. The logits after
  /// the last `count` of them are written to `logits` [count, vocabSize], which
  /// may be empty. Between two steps it stops early once
  /// `interruptRequested()`.
  Status feed(std::span<const int32_t> tokens, std::span<float> logits) {
    return feed(tokens, logits, nullptr);
  }
  /// The same; `stepped` (if not null) is told after each step which of the
  /// session's tokens it was made of.
  using StepSink = std::function<Status(int64_t first, int64_t count)>;
  Status feed(std::span<const int32_t> tokens, std::span<float> logits,
              const StepSink &stepped);

  /// Logits of consecutive positions: `logits` is [count, vocabSize], the first
  /// row follows the token at index `first` of what was fed.
  using LogitsSink =
      std::function<Status(int64_t first, int64_t count, const float *logits)>;

  /// Appends `tokens` and hands the logits after each of them to `sink`, in
  /// order, a bounded number at a time.
  Status feedAll(std::span<const int32_t> tokens, const LogitsSink &sink);

private:
  Status checkRoom(std::span<const int32_t> tokens) const;
  /// Makes one step of `tokens` with the logits of the given rows.
  Status step(std::span<const int32_t> tokens, std::span<const int32_t> outputs,
              float *logits);

  Engine &theEngine;
  const int32_t slot;
  std::vector<int32_t> held;
  std::vector<int32_t> slots, positions, rows;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_SESSION_H
