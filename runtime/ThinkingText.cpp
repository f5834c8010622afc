//===- ThinkingText.cpp - Dims the thinking in streamed text --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/ThinkingText.h"
#include "runtime/chat/ChatForm.h"

#include <algorithm>

namespace sputnik::rt {

static constexpr std::string_view dim = "\x1b[2m";
static constexpr std::string_view plain = "\x1b[22m";

/// How many of the last bytes of `text` begin `marker`, short of all of it.
static size_t openEnd(std::string_view text, std::string_view marker) {
  for (size_t size = std::min(text.size(), marker.size() - 1); size > 0; --size)
    if (text.ends_with(marker.substr(0, size)))
      return size;
  return 0;
}

std::string ThinkingText::push(std::string_view text) {
  waiting += text;
  std::string out;
  const auto emit = [&](size_t size) {
    if (size > 0 && thinking != dimmed) {
      out += thinking ? dim : plain;
      dimmed = thinking;
    }
    out += std::string_view(waiting).substr(0, size);
    waiting.erase(0, size);
  };
  while (true) {
    const std::string_view marker = thinking ? endThinkMarker : thinkMarker;
    const size_t at = waiting.find(marker);
    if (at == std::string::npos) {
      emit(waiting.size() - openEnd(waiting, marker));
      return out;
    }
    // Both markers are shown as part of the thinking.
    if (thinking) {
      emit(at + marker.size());
      thinking = false;
    } else {
      emit(at);
      thinking = true;
      emit(marker.size());
    }
  }
}

std::string ThinkingText::finish() {
  std::string out = std::move(waiting);
  waiting.clear();
  if (dimmed)
    out += plain;
  dimmed = false;
  return out;
}

} // namespace sputnik::rt
