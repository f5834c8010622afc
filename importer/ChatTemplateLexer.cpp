//===- ChatTemplateLexer.cpp - Tags and tokens of a template --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ChatTemplateLexer.h"

#include "importer/ChatTemplateProgram.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace sputnik::jinja {
namespace {

bool fail(std::string &error, const std::string &message) {
  error = message;
  return false;
}

/// Where the closing delimiter of a tag begins, outside of strings.
size_t tagSize(StringRef text, char open) {
  const StringRef close = open == '{' ? "}}" : "%}";
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    if (quote) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == quote)
        quote = '\0';
    } else if (text[i] == '\'' || text[i] == '"') {
      quote = text[i];
    } else if (text.substr(i).starts_with(close)) {
      return i;
    }
  }
  return StringRef::npos;
}

/// Takes a string off the front of `text`.
bool tokenizeString(StringRef &text, std::vector<Token> &tokens,
                    std::string &error) {
  const char quote = text[0];
  std::string value;
  size_t i = 1;
  for (; i < text.size() && text[i] != quote; ++i) {
    if (text[i] != '\\') {
      value += text[i];
      continue;
    }
    if (++i == text.size())
      break;
    switch (text[i]) {
    case 'n':
      value += '\n';
      break;
    case 't':
      value += '\t';
      break;
    case 'r':
      value += '\r';
      break;
    case '\\':
    case '\'':
    case '"':
      value += text[i];
      break;
    default:
      return fail(error, "a string has an escape that is not understood");
    }
  }
  if (i >= text.size())
    return fail(error, "a string does not end");
  tokens.push_back({Token::String, value});
  text = text.drop_front(i + 1);
  return true;
}

} // namespace

bool cutTemplate(StringRef source, std::vector<Chunk> &chunks,
                 std::string &error) {
  if (source.size() > maxTemplateBytes)
    return fail(error, "it has more than " + std::to_string(maxTemplateBytes) +
                           " bytes");
  const auto addText = [&](StringRef text) {
    if (!text.empty())
      chunks.push_back({Chunk::Text, text.str()});
  };
  StringRef rest = source;
  rest.consume_back("\n");
  bool lineStart = true, stripNext = false, trimNext = false;
  while (true) {
    size_t at = 0;
    while (at + 1 < rest.size() &&
           !(rest[at] == '{' && StringRef("{%#").contains(rest[at + 1])))
      ++at;
    const bool last = at + 1 >= rest.size();
    StringRef text = last ? rest : rest.take_front(at);
    if (stripNext) {
      text = text.ltrim();
    } else if (trimNext && text.consume_front("\n")) {
      lineStart = true;
    }
    if (last) {
      addText(text);
      return true;
    }
    const char open = rest[at + 1];
    rest = rest.drop_front(at + 2);
    const bool stripBefore = rest.consume_front("-");
    const bool keepBefore = !stripBefore && rest.consume_front("+");
    if (stripBefore) {
      text = text.rtrim();
    } else if (open != '{' && !keepBefore) {
      const size_t newline = text.rfind('\n');
      const size_t line = newline == StringRef::npos ? 0 : newline + 1;
      if ((line > 0 || lineStart) && text.drop_front(line).trim().empty())
        text = text.take_front(line);
    }
    addText(text);
    const size_t size = open == '#' ? rest.find("#}") : tagSize(rest, open);
    if (size == StringRef::npos || size + 2 > rest.size())
      return fail(error, "a tag does not end");
    StringRef inside = rest.take_front(size);
    rest = rest.drop_front(size + 2);
    stripNext = inside.consume_back("-");
    trimNext = open != '{' && !stripNext && !inside.consume_back("+");
    lineStart = false;
    if (open != '#')
      chunks.push_back(
          {open == '{' ? Chunk::Output : Chunk::Block, inside.str()});
  }
}

bool tokenizeTag(StringRef text, std::vector<Token> &tokens,
                 std::string &error) {
  tokens.clear();
  while (!(text = text.ltrim()).empty()) {
    const char c = text[0];
    if (isAlpha(c) || c == '_') {
      const StringRef name =
          text.take_while([](char d) { return isAlnum(d) || d == '_'; });
      tokens.push_back({Token::Name, name.str()});
      text = text.drop_front(name.size());
    } else if (isDigit(c)) {
      const StringRef digits = text.take_while(isDigit);
      if (digits.size() > 9)
        return fail(error, "a number is too large");
      tokens.push_back({Token::Integer, digits.str()});
      text = text.drop_front(digits.size());
    } else if (c == '\'' || c == '"') {
      if (!tokenizeString(text, tokens, error))
        return false;
    } else {
      size_t size = 1;
      for (StringRef two : {"==", "!=", "<=", ">=", "//"})
        if (text.starts_with(two))
          size = 2;
      if (size == 1 && !StringRef("+-*/%~.,:|()[]=<>").contains(c))
        return fail(error, "a tag holds an unexpected character");
      tokens.push_back({Token::Operator, text.take_front(size).str()});
      text = text.drop_front(size);
    }
  }
  return true;
}

} // namespace sputnik::jinja
