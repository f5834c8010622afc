//===- LineReader.cpp - Lines that a person types -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/LineReader.h"
#include "runtime/tokenizer/Tokenizer.h"

#include <cerrno>
#include <unistd.h>

namespace sputnik::rt {

Result<LineReader::Event> LineReader::next(std::string &line) {
  size_t searched = 0;
  while (true) {
    const size_t at = waiting.find('\n', searched);
    if (at != std::string::npos) {
      line = waiting.substr(0, at);
      waiting.erase(0, at + 1);
      return Event::Line;
    }
    if (ended && waiting.empty())
      return Event::End;
    if (ended) {
      line = std::move(waiting);
      waiting.clear();
      return Event::Line;
    }
    searched = waiting.size();
    char buffer[4096];
    const ssize_t size = read(descriptor, buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) {
      waiting.clear();
      return Event::Interrupted;
    }
    if (size < 0)
      return Error{"standard input: " + systemMessage(errno)};
    ended = size == 0;
    waiting.append(buffer, static_cast<size_t>(size));
    if (waiting.size() > Tokenizer::maxTextBytes)
      return SPUTNIK_ERROR("standard input: a line of more than %zu bytes",
                           Tokenizer::maxTextBytes);
  }
}

} // namespace sputnik::rt
