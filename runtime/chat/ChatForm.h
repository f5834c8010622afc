//===- ChatForm.h - How a model's chat template lays out turns --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The templates of the R1 family differ in four ways. The compiler finds out
// which way a model's template goes by rendering conversations with both
// (importer/ChatTemplateReader), so both sides share this renderer.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_RUNTIME_CHAT_CHATFORM_H
#define SPUTNIK_RUNTIME_CHAT_CHATFORM_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sputnik::rt {

inline constexpr std::string_view userMarker = "<｜User｜>";
inline constexpr std::string_view assistantMarker = "<｜Assistant｜>";
inline constexpr std::string_view endMarker = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view thinkMarker = "<think>";
inline constexpr std::string_view endThinkMarker = "</think>";

enum class ChatRole { System, User, Assistant };

/// One message of a conversation; `content` is plain text, whatever it holds.
struct ChatMessage {
  ChatRole role;
  std::string content;
};

/// What a template does, as bits.
struct ChatForm {
  enum Bits : uint32_t {
    /// There is a known chat template; without it no other bit is set.
    Known = 1u << 0,
    /// System messages are joined by "\n\n"; else the last one counts.
    JoinSystems = 1u << 1,
    /// The assistant marker ends each user message; else it begins each
    /// assistant message.
    AssistantAfterUser = 1u << 2,
    /// Of an assistant message only what follows its last `</think>` is kept.
    DropThinking = 1u << 3,
    /// The generation prompt ends in `<think>\n`.
    OpenThinking = 1u << 4,
  };
  static constexpr uint32_t allBits =
      Known | JoinSystems | AssistantAfterUser | DropThinking | OpenThinking;

  /// The distilled models as first released, and as they are now.
  static constexpr uint32_t firstRelease = Known | DropThinking;
  static constexpr uint32_t currentDistill = firstRelease | OpenThinking;
  /// The distilled model of the release of May 2025 (0528).
  static constexpr uint32_t r1_0528 =
      Known | JoinSystems | AssistantAfterUser | DropThinking;
  /// The base model without reasoning, as first released.
  static constexpr uint32_t v3Original = Known | JoinSystems;

  uint32_t bits = 0;

  bool known() const { return bits & Known; }
};

/// A stretch of a prompt. Markers are the template's own text, in which added
/// tokens count; the rest is text of the conversation, in which they do not.
struct ChatSegment {
  bool isMarker;
  std::string text;
};

/// Lays out a conversation. `bos` is the BOS token's text. Neighbouring
/// segments are never of the same kind.
inline std::vector<ChatSegment>
renderChat(ChatForm form, std::string_view bos,
           std::span<const ChatMessage> messages, bool addGenerationPrompt) {
  std::vector<ChatSegment> segments;
  const auto add = [&](bool isMarker, std::string_view text) {
    if (text.empty())
      return;
    if (segments.empty() || segments.back().isMarker != isMarker)
      segments.push_back({isMarker, std::string()});
    segments.back().text += text;
  };
  const auto has = [&](ChatForm::Bits bit) { return (form.bits & bit) != 0; };

  std::string system;
  bool hasSystem = false;
  for (const ChatMessage &message : messages) {
    if (message.role != ChatRole::System)
      continue;
    if (!has(ChatForm::JoinSystems))
      system = message.content;
    else
      system += (hasSystem ? "\n\n" : "") + message.content;
    hasSystem = true;
  }
  add(true, bos);
  add(false, system);

  bool markedAssistant = false;
  for (const ChatMessage &message : messages) {
    if (message.role == ChatRole::User) {
      add(true, userMarker);
      add(false, message.content);
      markedAssistant = has(ChatForm::AssistantAfterUser);
      if (markedAssistant)
        add(true, assistantMarker);
    } else if (message.role == ChatRole::Assistant) {
      std::string_view content = message.content;
      if (const size_t at = content.rfind(endThinkMarker);
          has(ChatForm::DropThinking) && at != std::string_view::npos)
        content.remove_prefix(at + endThinkMarker.size());
      if (!has(ChatForm::AssistantAfterUser))
        add(true, assistantMarker);
      add(false, content);
      add(true, endMarker);
      markedAssistant = false;
    }
  }
  if (addGenerationPrompt) {
    if (!markedAssistant)
      add(true, assistantMarker);
    if (has(ChatForm::OpenThinking))
      add(true, std::string(thinkMarker) + "\n");
  }
  return segments;
}

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_CHAT_CHATFORM_H
