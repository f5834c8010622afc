//===- ChatMessages.h - Conversations as JSON -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_CHAT_CHATMESSAGES_H
#define SPUTNIK_RUNTIME_CHAT_CHATMESSAGES_H

#include "runtime/chat/ChatForm.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sputnik::rt {

/// Values may be nested this deep.
inline constexpr unsigned maxChatJsonDepth = 16;

/// Reads `[{"role": "user", "content": "..."}, ...]`. Roles are system, user
/// and assistant, contents are strings; other keys are ignored, except
/// `tool_calls`, which must be null. Fails with one line in `error`. Does not
/// recurse.
std::optional<std::vector<ChatMessage>> parseChatMessages(std::string_view json,
                                                          std::string &error);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_CHAT_CHATMESSAGES_H
