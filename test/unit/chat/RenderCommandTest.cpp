//===- RenderCommandTest.cpp - `X render` and its JSON --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestTokenizer.h"

#include "runtime/chat/ChatMessages.h"
#include "runtime/chat/RenderCommand.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <sstream>

using namespace sputnik;
using namespace sputnik::test;
using namespace sputnik::rt;
using testing::HasSubstr;

namespace {

std::string errorOfJson(const std::string &json) {
  std::string error;
  EXPECT_FALSE(parseChatMessages(json, error).has_value()) << json;
  EXPECT_EQ(error.find('\n'), std::string::npos);
  return error;
}

TEST(ChatMessages, AreRead) {
  std::string error;
  const auto messages = parseChatMessages(
      R"([{"content": "é\n", "name": [{"role": "x"}], "role": "system"},
          {"role": "user", "content": "", "tool_calls": null},
          {"role": "assistant", "content": "\u003cthink>"}])",
      error);
  ASSERT_TRUE(messages.has_value()) << error;
  ASSERT_EQ(messages->size(), 3u);
  EXPECT_EQ((*messages)[0].role, ChatRole::System);
  EXPECT_EQ((*messages)[0].content, "é\n");
  EXPECT_EQ((*messages)[1].role, ChatRole::User);
  EXPECT_EQ((*messages)[2].content, "<think>");
  EXPECT_TRUE(parseChatMessages("[]", error)->empty());
}

TEST(ChatMessages, BadOnesGetOneLine) {
  EXPECT_THAT(errorOfJson(""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(errorOfJson("[{]"), HasSubstr("not valid JSON at byte 3"));
  EXPECT_THAT(errorOfJson("[] x"), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(errorOfJson("[\"\xff\"]"), HasSubstr("not valid JSON"));
  EXPECT_EQ(errorOfJson("{}"),
            "the text is an object, expected an array of messages");
  EXPECT_EQ(errorOfJson("7"),
            "the text is a number, expected an array of messages");
  EXPECT_EQ(errorOfJson("[\"hi\"]"),
            "message 1 is a string, expected an object");
  EXPECT_EQ(errorOfJson("[[]]"), "message 1 is an array, expected an object");
  EXPECT_EQ(errorOfJson(R"([{"role": "user"}])"),
            "message 1 has no \"content\"");
  EXPECT_EQ(errorOfJson(R"([{"content": "x"}])"), "message 1 has no \"role\"");
  EXPECT_THAT(errorOfJson(R"([{"role": "tool", "content": "x"}])"),
              HasSubstr("message 1 has a role that is not understood"));
  EXPECT_EQ(errorOfJson(R"([{"role": "user", "content": null}])"),
            "message 1 has null as \"content\", expected a string");
  EXPECT_EQ(errorOfJson(R"([{"role": "user", "content": ["x"]}])"),
            "message 1 has an array as \"content\", expected a string");
  EXPECT_EQ(errorOfJson(R"([{"role": "user", "content": "", "role": "user"}])"),
            "message 1 has the key \"role\" twice");
  EXPECT_THAT(errorOfJson(R"([{"role": "user", "tool_calls": [{}]}])"),
              HasSubstr("\"tool_calls\", which are not supported"));
}

TEST(ChatMessages, DeepNestingIsRefused) {
  EXPECT_THAT(errorOfJson(std::string(1'000'000, '[')),
              HasSubstr("expected an object"));
  EXPECT_THAT(errorOfJson(R"([{"x": )" + std::string(1'000'000, '[')),
              HasSubstr("nested deeper than 16 levels"));
}

TEST(RenderCommand, WritesThePromptAndNothingElse) {
  TokenizerRecipe recipe;
  recipe.added = r1Markers();
  recipe.config = r1Config;
  recipe.chatTemplate =
      "{{bos_token}}{% for m in messages %}{% if m.role == 'user' %}"
      "{{'<｜User｜>' + m.content}}{% elif m.role == 'assistant' %}"
      "{{'<｜Assistant｜>' + m.content + eos_token}}{% endif %}{% endfor %}"
      "{% if add_generation_prompt %}{{'<｜Assistant｜>'}}{% endif %}";
  const auto run = [&](const RenderCommandOptions &options,
                       const std::string &input, std::string &errors) {
    const LoadedTokenizer tokenizer(recipe);
    std::istringstream in(input);
    std::ostringstream out, errorStream;
    const int status =
        runRenderCommand(*tokenizer, options, in, out, errorStream);
    errors = errorStream.str();
    EXPECT_EQ(status, errors.empty() ? 0 : 1);
    return out.str();
  };
  std::string errors;
  const std::string json = R"([{"role": "user", "content": "Hi"}])";
  // Without system messages this is no template of the family.
  EXPECT_EQ(run({}, json, errors), "");
  EXPECT_THAT(errors, HasSubstr("error: this model cannot be asked"));

  recipe.chatTemplate.insert(
      0, "{% set ns = namespace(s='', n=0) %}{% for m in messages %}"
         "{% if m.role == 'system' %}{% if ns.n %}{% set ns.s = ns.s + '\\n\\n'"
         " + m.content %}{% else %}{% set ns.s = m.content %}{% endif %}"
         "{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}");
  recipe.chatTemplate.replace(recipe.chatTemplate.find("{{bos_token}}"), 13,
                              "{{bos_token + ns.s}}");
  EXPECT_EQ(run({}, json, errors),
            "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>")
      << errors;
  EXPECT_EQ(run({.generationPrompt = false}, json, errors),
            "<｜begin▁of▁sentence｜><｜User｜>Hi");
  EXPECT_EQ(run({}, "{}", errors), "");
  EXPECT_EQ(errors, "error: standard input: the text is an object, expected an "
                    "array of messages\n");
  EXPECT_EQ(run({.file = "/nowhere"}, "", errors), "");
  EXPECT_EQ(errors, "error: /nowhere: No such file or directory\n");
}

} // namespace
