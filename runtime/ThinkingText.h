//===- ThinkingText.h - Dims the thinking in streamed text ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_THINKINGTEXT_H
#define SPUTNIK_RUNTIME_THINKINGTEXT_H

#include <string>
#include <string_view>

namespace sputnik::rt {

/// Puts terminal codes around what lies between `<think>` and `</think>`,
/// however the text is cut. Text that may turn out to be the beginning of such
/// a marker waits for the next part.
class ThinkingText {
public:
  /// `thinking`: the text begins inside the thinking.
  explicit ThinkingText(bool thinking) : thinking(thinking) {}

  std::string push(std::string_view text);
  /// The rest, and the end of dimming if it is still on.
  std::string finish();

private:
  bool thinking;
  bool dimmed = false;
  std::string waiting;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_THINKINGTEXT_H
