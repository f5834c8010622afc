//===- TextPrinter.cpp - Streams an answer to standard output -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/TextPrinter.h"
#include "runtime/Files.h"
#include "runtime/chat/ChatForm.h"

#include <unistd.h>

namespace sputnik::rt {

TextPrinter::TextPrinter(const Tokenizer &tokenizer, bool startsInThinking)
    : tokenizer(tokenizer) {
  if (isatty(STDOUT_FILENO))
    style.emplace(startsInThinking);
}

Status TextPrinter::show(const std::string &text) {
  all += text;
  return print(style ? style->push(text) : text);
}

Status TextPrinter::token(int32_t id) {
  const std::string_view bytes = tokenizer.tokenBytes(id);
  if (tokenizer.isSpecial(id) && bytes != thinkMarker &&
      bytes != endThinkMarker)
    return {};
  return show(stream.push(bytes));
}

Status TextPrinter::finish() {
  if (Status status = show(stream.finish()); !status)
    return status;
  std::string end = style ? style->finish() : std::string();
  if (!all.empty() && all.back() != '\n')
    end += '\n';
  return print(end);
}

} // namespace sputnik::rt
