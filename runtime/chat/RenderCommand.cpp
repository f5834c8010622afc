//===- RenderCommand.cpp - `X render` -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/chat/RenderCommand.h"

#include "runtime/chat/ChatMessages.h"
#include "runtime/chat/ChatTemplate.h"
#include "runtime/tokenizer/TextInput.h"

namespace sputnik::rt {

int runRenderCommand(const Tokenizer &tokenizer,
                     const RenderCommandOptions &options, std::istream &input,
                     std::ostream &output, std::ostream &errors) {
  std::string error;
  const auto fail = [&](const std::string &message) {
    errors << "error: " << message << "\n";
    return 1;
  };
  const auto chat = ChatTemplate::open(tokenizer, error);
  if (!chat)
    return fail(error);
  const auto json =
      readText(options.file, input, Tokenizer::maxTextBytes, error);
  if (!json)
    return fail(error);
  const auto messages = parseChatMessages(*json, error);
  if (!messages)
    return fail(options.file.value_or("standard input") + ": " + error);
  output << chat->render(*messages, options.generationPrompt);
  output.flush();
  return output ? 0 : fail("standard output cannot be written");
}

} // namespace sputnik::rt
