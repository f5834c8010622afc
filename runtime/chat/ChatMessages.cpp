//===- ChatMessages.cpp - Conversations as JSON ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/chat/ChatMessages.h"

#include <nlohmann/json.hpp>

namespace sputnik::rt {
namespace {

/// Takes the values as the parser meets them; no tree is built. The messages
/// are at depth 2: an array of objects.
class MessageHandler : public nlohmann::json_sax<nlohmann::json> {
public:
  bool null() override {
    return field == "tool_calls" && depth == 2 ? true : other("null");
  }
  bool boolean(bool) override { return other("a boolean"); }
  bool number_integer(number_integer_t) override { return other("a number"); }
  bool number_unsigned(number_unsigned_t) override { return other("a number"); }
  bool number_float(number_float_t, const string_t &) override {
    return other("a number");
  }
  bool binary(binary_t &) override { return other("binary data"); }

  bool string(string_t &value) override {
    if (!isField())
      return other("a string");
    if (field == "content") {
      if (content)
        return fail(where() + "has the key \"content\" twice");
      content = std::move(value);
      return true;
    }
    if (role)
      return fail(where() + "has the key \"role\" twice");
    if (value == "system")
      role = ChatRole::System;
    else if (value == "user")
      role = ChatRole::User;
    else if (value == "assistant")
      role = ChatRole::Assistant;
    else
      return fail(where() + "has a role that is not understood, expected "
                            "\"system\", \"user\" or \"assistant\"");
    return true;
  }

  bool start_object(std::size_t) override {
    if (depth == 1) {
      role.reset();
      content.reset();
      field.clear();
      return enter();
    }
    return other("an object") && enter();
  }
  bool end_object() override {
    --depth;
    if (depth != 1)
      return true;
    if (!role)
      return fail(where() + "has no \"role\"");
    if (!content)
      return fail(where() + "has no \"content\"");
    messages.push_back({*role, std::move(*content)});
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth == 0)
      return enter();
    return other("an array") && enter();
  }
  bool end_array() override {
    --depth;
    return true;
  }
  bool key(string_t &name) override {
    if (depth == 2)
      field = name;
    return true;
  }

  bool parse_error(std::size_t position, const std::string &,
                   const nlohmann::detail::exception &) override {
    return fail("not valid JSON at byte " + std::to_string(position));
  }

  std::vector<ChatMessage> messages;
  std::string error;

private:
  bool isField() const {
    return depth == 2 && (field == "role" || field == "content");
  }

  /// A value that is not what its place asks for, if its place asks.
  bool other(const char *what) {
    if (depth == 0)
      return fail(std::string("the text is ") + what +
                  ", expected an array of messages");
    if (depth == 1)
      return fail(where() + "is " + what + ", expected an object");
    if (isField())
      return fail(where() + "has " + what + " as \"" + field +
                  "\", expected a string");
    if (depth == 2 && field == "tool_calls")
      return fail(where() + "has \"tool_calls\", which are not supported");
    return true;
  }

  bool enter() {
    if (depth == maxChatJsonDepth)
      return fail("values are nested deeper than " +
                  std::to_string(maxChatJsonDepth) + " levels");
    ++depth;
    return true;
  }

  std::string where() const {
    return "message " + std::to_string(messages.size() + 1) + " ";
  }

  bool fail(const std::string &message) {
    if (error.empty())
      error = message;
    return false;
  }

  unsigned depth = 0;
  std::string field;
  std::optional<ChatRole> role;
  std::optional<std::string> content;
};

} // namespace

std::optional<std::vector<ChatMessage>> parseChatMessages(std::string_view json,
                                                          std::string &error) {
  MessageHandler handler;
  if (nlohmann::json::sax_parse(json, &handler))
    return std::move(handler.messages);
  error = handler.error;
  return std::nullopt;
}

} // namespace sputnik::rt
