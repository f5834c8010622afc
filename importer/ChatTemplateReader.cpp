//===- ChatTemplateReader.cpp - Which form a chat template has ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ChatTemplateReader.h"

#include "importer/ChatTemplateProgram.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"

#include <vector>

using namespace llvm;

namespace sputnik {
namespace {

using rt::ChatForm;
using rt::ChatMessage;
using rt::ChatRole;

struct Probe {
  std::vector<ChatMessage> messages;
  /// Every template must lay this one out; others it may refuse.
  bool required;
};

/// Conversations that tell the forms apart, and such as other templates treat
/// in a way of their own: white space at the ends, empty texts, unusual orders.
std::vector<Probe> probes() {
  const auto system = [](const char *text) {
    return ChatMessage{ChatRole::System, text};
  };
  const auto user = [](const char *text) {
    return ChatMessage{ChatRole::User, text};
  };
  const auto assistant = [](const char *text) {
    return ChatMessage{ChatRole::Assistant, text};
  };
  return {
      {{user("One?")}, true},
      {{user("One?"), assistant("1"), user("Two?")}, true},
      {{user(" \n a b\n "),
        assistant("<think>\nx</think>y\n</think>\n\n c d \n"), user("")},
       true},
      {{system(" Be brief.\n"), user("One?")}, true},
      {{user("One?"), assistant("no thinking <think> here")}, false},
      {{system("First."), system("Second."), user("One?")}, false},
      {{user("One?"), system("Late."), assistant("1"), system("Later."),
        user("Two?")},
       false},
      {{user("One?"), user("Two?")}, false},
      {{assistant("I begin.")}, false},
      {{system("Alone.")}, false},
  };
}

StringRef roleName(ChatRole role) {
  switch (role) {
  case ChatRole::System:
    return "system";
  case ChatRole::User:
    return "user";
  case ChatRole::Assistant:
    return "assistant";
  }
  return "";
}

std::map<std::string, jinja::Value>
globalsFor(const Probe &probe, bool generate, StringRef bos, StringRef eos) {
  jinja::Value messages = jinja::Value::newList();
  for (const ChatMessage &message : probe.messages) {
    jinja::Value value = jinja::Value::newObject();
    (*value.object)["role"] = jinja::Value::text(roleName(message.role));
    (*value.object)["content"] = jinja::Value::text(message.content);
    messages.list->push_back(value);
  }
  return {{"messages", messages},
          {"add_generation_prompt", jinja::Value::boolean(generate)},
          {"tools", jinja::Value::none()},
          {"documents", jinja::Value::none()},
          {"bos_token", jinja::Value::text(bos)},
          {"eos_token", jinja::Value::text(eos)}};
}

std::string renderForm(uint32_t bits, const Probe &probe, bool generate,
                       StringRef bos) {
  std::string text;
  for (const rt::ChatSegment &segment :
       rt::renderChat(ChatForm{bits}, bos, probe.messages, generate))
    text += segment.text;
  return text;
}

ChatTemplateReading unknown(StringRef why) {
  // Names in a template have any length; no character of one is cut in two.
  StringRef shown = why.take_front(200);
  while (!llvm::json::isUTF8(shown))
    shown = shown.drop_back();
  return {ChatForm{}, "its chat template is not one of the R1 family (" +
                          shown.str() + ")"};
}

} // namespace

ChatTemplateReading readChatTemplate(StringRef text, StringRef bos,
                                     StringRef eos) {
  jinja::Program program;
  std::string error;
  if (!jinja::parseTemplate(text, program, error))
    return unknown(error);
  std::vector<uint32_t> candidates;
  for (uint32_t bits = 0; bits <= ChatForm::allBits; ++bits)
    if (bits & ChatForm::Known)
      candidates.push_back(bits);
  for (const Probe &probe : probes())
    for (const bool generate : {true, false}) {
      std::string rendered;
      const jinja::RenderResult result = jinja::renderTemplate(
          program, globalsFor(probe, generate, bos, eos), rendered, error);
      if (result == jinja::RenderResult::Raised && !probe.required)
        continue;
      if (result != jinja::RenderResult::Done)
        return unknown(error);
      erase_if(candidates, [&](uint32_t bits) {
        return renderForm(bits, probe, generate, bos) != rendered;
      });
      if (candidates.empty())
        return unknown("it lays out conversations in another way");
    }
  return {ChatForm{candidates.front()}, ""};
}

} // namespace sputnik
