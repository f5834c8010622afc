//===- Json.cpp - JSON from untrusted files -------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Json.h"

#include "importer/InputError.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringSet.h"

#include <cmath>

using namespace llvm;

namespace sputnik {
namespace {

/// One pass over the text that knows only strings and brackets. It runs before
/// llvm::json::parse, which recurses on nesting and keeps one of two equal keys
/// without a word. Texts that are not JSON may pass; the parser refuses them.
class Scanner {
  /// llvm::json gives an object room for 64 members at once.
  static constexpr uint64_t objectCost = 64, memberCost = 4;

public:
  Scanner(StringRef text, StringRef file) : text(text), file(file) {}

  Error run() {
    while (at < text.size()) {
      const char c = text[at];
      if (c == '"') {
        const size_t begin = at;
        if (!skipString())
          return Error::success();
        if (expectKey)
          if (Error error = addKey(begin))
            return error;
        continue;
      }
      if (Error error = bracket(c))
        return error;
      ++at;
    }
    return Error::success();
  }

private:
  struct Level {
    bool isObject;
    StringSet<> keys;
  };

  Error bracket(char c) {
    if (c == '{' || c == '[') {
      if (levels.size() == maxJsonDepth)
        return fail(at, "arrays and objects are nested deeper than " +
                            Twine(maxJsonDepth) + " levels");
      levels.push_back({c == '{', {}});
      expectKey = c == '{';
      cost += expectKey ? objectCost + memberCost : 1;
    } else if (c == '}' || c == ']') {
      if (!levels.empty())
        levels.pop_back();
      expectKey = false;
    } else if (c == ',') {
      expectKey = !levels.empty() && levels.back().isObject;
      cost += expectKey ? memberCost : 1;
    }
    if (cost > maxJsonCost)
      return fail(at, "the text holds too many values");
    return Error::success();
  }

  /// Moves from an opening quote past the closing one; false at the end of the
  /// text.
  bool skipString() {
    for (++at; at < text.size(); ++at) {
      if (text[at] == '\\') {
        ++at;
      } else if (text[at] == '"') {
        ++at;
        return true;
      }
    }
    return false;
  }

  /// Records the key whose opening quote is at `begin` and which ends before
  /// `at`.
  Error addKey(size_t begin) {
    expectKey = false;
    StringRef literal = text.slice(begin, at);
    std::string unescaped;
    StringRef key = literal.drop_front().drop_back();
    if (key.contains('\\')) {
      Expected<json::Value> value = json::parse(literal);
      if (!value) {
        // The parser says what is wrong with the escape.
        consumeError(value.takeError());
        return Error::success();
      }
      if (std::optional<StringRef> string = value->getAsString())
        unescaped = string->str();
      key = unescaped;
    }
    if (!levels.back().keys.insert(key).second)
      return fail(begin,
                  "the key " + quoted(key) + " occurs twice in one object");
    return Error::success();
  }

  Error fail(size_t offset, const Twine &message) {
    StringRef before = text.take_front(offset);
    const size_t line = before.count('\n') + 1;
    const size_t newline = before.rfind('\n');
    const size_t column =
        offset - (newline == StringRef::npos ? 0 : newline + 1) + 1;
    return inputError(file, "line " + Twine(line) + ", column " +
                                Twine(column) + ": " + message);
  }

  StringRef text, file;
  size_t at = 0;
  bool expectKey = false;
  uint64_t cost = 0;
  SmallVector<Level, 8> levels;
};

} // namespace

Expected<json::Value> parseJson(StringRef text, StringRef file) {
  size_t bad = 0;
  if (!json::isUTF8(text, &bad))
    return inputError(file, "byte " + Twine(bad) + " is not valid UTF-8");
  if (Error error = Scanner(text, file).run())
    return error;
  Expected<json::Value> value = json::parse(text);
  if (value)
    return value;
  std::string message;
  handleAllErrors(value.takeError(),
                  [&](const ErrorInfoBase &info) { message = info.message(); });
  return inputError(file, "not valid JSON: " + message);
}

std::optional<int64_t> jsonInteger(const json::Value &value) {
  // llvm::json would convert a double of 2^63, which int64_t does not hold.
  std::optional<double> number = value.getAsNumber();
  if (!number || !(std::abs(*number) < 0x1p62))
    return std::nullopt;
  return value.getAsInteger();
}

} // namespace sputnik
