//===- TextPrinter.h - Streams an answer to standard output ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_TEXTPRINTER_H
#define SPUTNIK_RUNTIME_COMMANDS_TEXTPRINTER_H

#include "runtime/Result.h"
#include "runtime/ThinkingText.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/tokenizer/Utf8Stream.h"

#include <cstdint>
#include <optional>
#include <string>

namespace sputnik::rt {

/// Prints tokens as they come, as valid UTF-8 and without control tokens. On a
/// terminal the thinking is dimmed.
class TextPrinter {
public:
  /// `startsInThinking`: the prompt ended in `<think>`.
  TextPrinter(const Tokenizer &tokenizer, bool startsInThinking);

  Status token(int32_t id);
  /// Prints what is left, and a line break if the text does not end in one.
  Status finish();

  /// All text so far.
  const std::string &text() const { return all; }

private:
  Status show(const std::string &text);

  const Tokenizer tokenizer;
  Utf8Stream stream;
  std::optional<ThinkingText> style;
  std::string all;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_TEXTPRINTER_H
