//===- ChatTemplateLexer.h - Tags and tokens of a template ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_CHATTEMPLATELEXER_H
#define SPUTNIK_IMPORTER_CHATTEMPLATELEXER_H

#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace sputnik::jinja {

/// A stretch of a template: text, or what stands between the delimiters of a
/// tag.
struct Chunk {
  enum Kind { Text, Output, Block };
  Kind kind;
  std::string text;
};

/// A token of a tag; `text` of a String is its value.
struct Token {
  enum Kind { End, Name, Integer, String, Operator };
  Kind kind = End;
  std::string text;
};

/// Cuts a template into chunks and applies the rules of white space around
/// tags. Comments are left out. Returns false and sets `error` where a tag does
/// not end, or when the template is larger than maxTemplateBytes.
bool cutTemplate(llvm::StringRef source, std::vector<Chunk> &chunks,
                 std::string &error);

/// Makes `tokens` the tokens of a tag. Returns false and sets `error` on what
/// is no token.
bool tokenizeTag(llvm::StringRef text, std::vector<Token> &tokens,
                 std::string &error);

} // namespace sputnik::jinja

#endif // SPUTNIK_IMPORTER_CHATTEMPLATELEXER_H
