//===- Drafter.h - Guesses what a text says next ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_DRAFTER_H
#define SPUTNIK_RUNTIME_DRAFTER_H

#include "runtime/Result.h"
#include "runtime/Sampler.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sputnik::rt {

/// A token that may come next.
struct Guess {
  int32_t id;
  /// What it was drawn from at random; empty if it was not.
  Distribution drawn;
};

/// Guesses the next tokens of a text that it follows, so that one step of the
/// model can check several at once. A guess may be wrong; the less often, the
/// more tokens a step gives.
class Drafter {
public:
  virtual ~Drafter() = default;

  /// Forgets everything; the text is now `text`.
  virtual void begin(std::span<const int32_t> text) = 0;
  /// The text goes on with `id`.
  virtual void append(int32_t id) = 0;
  /// The model made a step of `count` tokens from index `first` of the text on:
  /// of its last tokens, or of the last one and guesses.
  virtual Status stepped(int64_t first, int64_t count) = 0;
  /// Guesses the next tokens of the text, at most `most`; none if nothing
  /// speaks for any. The guesses do not become part of the text.
  virtual Result<std::vector<Guess>> guess(size_t most) = 0;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_DRAFTER_H
