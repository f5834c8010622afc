//===- Drafter.h - Guesses what a text says next ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_DRAFTER_H
#define SPUTNIK_RUNTIME_DRAFTER_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sputnik::rt {

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
  /// Guesses the next tokens of the text, at most `most`; none if nothing
  /// speaks for any. The guesses do not become part of the text.
  virtual std::vector<int32_t> guess(size_t most) = 0;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_DRAFTER_H
