//===- ChatTemplate.cpp - Conversations to prompts ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/chat/ChatTemplate.h"

namespace sputnik::rt {

std::optional<ChatTemplate> ChatTemplate::open(const Tokenizer &tokenizer,
                                               std::string &error) {
  const ChatForm form{tokenizer.chatFormBits()};
  if (form.known() && !(form.bits & ~ChatForm::allBits))
    return ChatTemplate(tokenizer, form);
  error = "this model cannot be asked with a chat prompt: ";
  error += form.known() ? "its executable was written by another version of the"
                          " compiler"
                        : tokenizer.chatNote();
  return std::nullopt;
}

std::vector<ChatSegment>
ChatTemplate::layOut(std::span<const ChatMessage> messages,
                     bool addGenerationPrompt) const {
  return renderChat(form, tokenizer.tokenBytes(tokenizer.bosId().value_or(-1)),
                    messages, addGenerationPrompt);
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 bool addGenerationPrompt) const {
  std::string text;
  for (const ChatSegment &segment : layOut(messages, addGenerationPrompt))
    text += segment.text;
  return text;
}

std::vector<int32_t> ChatTemplate::encode(std::span<const ChatMessage> messages,
                                          bool addGenerationPrompt) const {
  std::vector<int32_t> ids;
  for (const ChatSegment &segment : layOut(messages, addGenerationPrompt)) {
    const std::vector<int32_t> part = tokenizer.encode(
        segment.text, {.addBos = false, .addedTokens = segment.isMarker});
    ids.insert(ids.end(), part.begin(), part.end());
  }
  return ids;
}

} // namespace sputnik::rt
