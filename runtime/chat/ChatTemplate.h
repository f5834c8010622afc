//===- ChatTemplate.h - Conversations to prompts ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_CHAT_CHATTEMPLATE_H
#define SPUTNIK_RUNTIME_CHAT_CHATTEMPLATE_H

#include "runtime/chat/ChatForm.h"
#include "runtime/tokenizer/Tokenizer.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sputnik::rt {

/// The chat template of a model, with its tokenizer.
class ChatTemplate {
public:
  /// Fails with one line in `error` when the model has no chat template, or one
  /// that the compiler did not know.
  static std::optional<ChatTemplate> open(const Tokenizer &tokenizer,
                                          std::string &error);

  /// The prompt as text. With `addGenerationPrompt` it ends where the model's
  /// answer begins.
  std::string render(std::span<const ChatMessage> messages,
                     bool addGenerationPrompt = true) const;

  /// The prompt as ids, BOS included. Only the template's own markers become
  /// control tokens: a marker written inside a message is ordinary text.
  std::vector<int32_t> encode(std::span<const ChatMessage> messages,
                              bool addGenerationPrompt = true) const;

  /// Whether a generated answer begins inside the thinking, because the prompt
  /// ends in `<think>`.
  bool startsInThinking() const { return form.bits & ChatForm::OpenThinking; }

private:
  ChatTemplate(const Tokenizer &tokenizer, ChatForm form)
      : tokenizer(tokenizer), form(form) {}
  std::vector<ChatSegment> layOut(std::span<const ChatMessage> messages,
                                  bool addGenerationPrompt) const;

  Tokenizer tokenizer;
  ChatForm form;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_CHAT_CHATTEMPLATE_H
