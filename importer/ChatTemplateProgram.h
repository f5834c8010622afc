//===- ChatTemplateProgram.h - The Jinja of chat templates ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_CHATTEMPLATEPROGRAM_H
#define SPUTNIK_IMPORTER_CHATTEMPLATEPROGRAM_H

#include "llvm/ADT/StringRef.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sputnik::jinja {

/// A value of the template language. Lists and objects are shared, as there.
struct Value {
  enum Kind { Undefined, None, Bool, Int, String, List, Object };
  Kind kind = Undefined;
  int64_t integer = 0; ///< Also a Bool.
  std::string string;
  std::shared_ptr<std::vector<Value>> list;
  std::shared_ptr<std::map<std::string, Value>> object;

  static Value boolean(bool value);
  static Value number(int64_t value);
  static Value text(llvm::StringRef value);
  static Value none();
  static Value newList();
  static Value newObject();

  bool truthy() const;
  bool operator==(const Value &other) const;
};

struct Expression {
  enum Kind {
    Literal,
    Name,      ///< text
    ListOf,    ///< arguments
    Attribute, ///< arguments[0].text
    Index,     ///< arguments[0][arguments[1]]
    Slice,     ///< arguments[0][arguments[1]:arguments[2]], either may be null
    Call,      ///< arguments[0](rest), named arguments in `names`
    Filter,    ///< arguments[0] | text(rest)
    Test,      ///< arguments[0] is text
    Not,
    Minus,
    Binary,     ///< arguments[0] text arguments[1]
    Conditional ///< arguments[1] if arguments[0] else arguments[2]
  };
  Kind kind;
  std::string text;
  Value literal;
  std::vector<std::unique_ptr<Expression>> arguments;
  /// For Call: the name of each argument after the first, empty if it has none.
  std::vector<std::string> names;
  unsigned depth = 1;
};

struct Statement {
  enum Kind {
    Text,   ///< text
    Output, ///< expression
    If,     ///< conditions[i] guards bodies[i]; one body more is the else
    For,    ///< text in expression, if conditions[0]; bodies[0]
    Set     ///< text = expression, or text.attribute = expression
  };
  Kind kind;
  std::string text, attribute;
  std::unique_ptr<Expression> expression;
  std::vector<std::unique_ptr<Expression>> conditions;
  std::vector<std::vector<Statement>> bodies;
};

/// A parsed template.
struct Program {
  std::vector<Statement> statements;
};

/// Bounds on templates. The largest of the family has 3,140 bytes.
inline constexpr size_t maxTemplateBytes = 64u << 10;
inline constexpr unsigned maxNesting = 64;
/// Bounds on one rendering.
inline constexpr unsigned maxSteps = 20'000;
inline constexpr size_t maxStringBytes = 16u << 10;

/// Parses the part of Jinja that chat templates are written in, with the white
/// space rules they are rendered with (trim_blocks, lstrip_blocks). Returns
/// false and sets `error` on anything else.
bool parseTemplate(llvm::StringRef text, Program &program, std::string &error);

/// What became of a rendering.
enum class RenderResult {
  Done,
  Raised, ///< The template called raise_exception.
  Failed
};

/// Renders with these global variables. Sets `out`, or `error` unless Done.
RenderResult renderTemplate(const Program &program,
                            const std::map<std::string, Value> &globals,
                            std::string &out, std::string &error);

} // namespace sputnik::jinja

#endif // SPUTNIK_IMPORTER_CHATTEMPLATEPROGRAM_H
