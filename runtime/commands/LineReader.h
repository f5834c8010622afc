//===- LineReader.h - Lines that a person types ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_LINEREADER_H
#define SPUTNIK_RUNTIME_COMMANDS_LINEREADER_H

#include "runtime/Result.h"

#include <string>

namespace sputnik::rt {

/// Reads lines from a descriptor; unlike the C library's streams it comes back
/// when a signal arrives.
class LineReader {
public:
  enum class Event { Line, End, Interrupted };

  explicit LineReader(int descriptor) : descriptor(descriptor) {}

  /// On Event::Line sets `line`, without its line break. A last line needs
  /// none.
  Result<Event> next(std::string &line);

private:
  const int descriptor;
  std::string waiting;
  bool ended = false;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_LINEREADER_H
