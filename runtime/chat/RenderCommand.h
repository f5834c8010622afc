//===- RenderCommand.h - `X render` -----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_CHAT_RENDERCOMMAND_H
#define SPUTNIK_RUNTIME_CHAT_RENDERCOMMAND_H

#include "runtime/tokenizer/Tokenizer.h"

#include <istream>
#include <optional>
#include <ostream>
#include <string>

namespace sputnik::rt {

/// The options of `X render`.
struct RenderCommandOptions {
  std::optional<std::string> file =
      {};                       ///< -f; else the JSON is standard input.
  bool generationPrompt = true; ///< Off with --no-generation-prompt.
};

/// Writes the prompt that the chat template makes of a JSON array of messages,
/// byte for byte and nothing after it. Returns the exit status: 0, or 1 with
/// one line on `errors`.
int runRenderCommand(const Tokenizer &tokenizer,
                     const RenderCommandOptions &options, std::istream &input,
                     std::ostream &output, std::ostream &errors);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_CHAT_RENDERCOMMAND_H
