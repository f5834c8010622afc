//===- Result.cpp - A value or the reason why there is none ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Result.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace sputnik::rt {

std::string format(const char *pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(size > 0 ? static_cast<size_t>(size) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

std::string quotable(const std::string &text) {
  constexpr size_t longest = 200;
  std::string quoted = text.substr(0, longest);
  for (char &c : quoted)
    if (c < 0x20 || c > 0x7e)
      c = '?';
  if (text.size() > longest)
    quoted += "...";
  return quoted;
}

std::string systemMessage(int errorNumber) {
  return std::strerror(errorNumber);
}

} // namespace sputnik::rt
