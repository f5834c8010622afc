//===- JsonTest.cpp - JSON from untrusted files ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Failure.h"

#include "importer/InputError.h"
#include "importer/Json.h"

#include "llvm/ADT/ArrayRef.h"

using namespace llvm;

namespace sputnik::testing {
namespace {

struct BrokenJson {
  const char *name;
  std::string text;
  const char *expected;
};

std::string repeated(StringRef text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i)
    result += text;
  return result;
}

TEST(Json, Broken) {
  const BrokenJson cases[] = {
      {"empty", "", "not valid JSON"},
      {"not UTF-8", "{\"a\": \"\xff\"}", "byte 7 is not valid UTF-8"},
      {"overlong UTF-8", "\"\xc0\xaf\"", "not valid UTF-8"},
      {"surrogate in UTF-8", "\"\xed\xa0\x80\"", "not valid UTF-8"},
      {"deep arrays", repeated("[", 100000), "nested deeper than 64"},
      {"deep objects", repeated("{\"a\":", 65) + "1" + repeated("}", 65),
       "nested deeper than 64"},
      {"key twice", "{\"a\": 1,\n \"b\": 2, \"a\": 3}",
       "line 2, column 10: the key 'a' occurs twice"},
      {"key twice, escaped", "{\"a\": 1, \"\\u0061\": 2}",
       "the key 'a' occurs twice"},
      {"key twice, inside", "[{\"x\": {\"a\": 1, \"a\": 1}}]",
       "the key 'a' occurs twice"},
      {"key twice, after a nested object", "{\"a\": {\"b\": 1}, \"a\": 2}",
       "the key 'a' occurs twice"},
      {"cut in a string", "{\"a\": \"b", "not valid JSON"},
      {"cut in an escape", "{\"a\\", "not valid JSON"},
      {"cut in an object", "{\"a\": 1", "not valid JSON"},
      {"bad escape in a key", "{\"a\\q\": 1}", "not valid JSON"},
      {"two values", "{} {}", "not valid JSON"},
      {"wrong closing bracket", "{\"a\": [1}", "not valid JSON"},
      {"only closing brackets", "]]]}", "not valid JSON"},
      {"a comma first", "{,}", "not valid JSON"},
      {"NUL", std::string("{\"a\"\0: 1}", 9), "not valid JSON"},
      {"too many elements", "[" + repeated("0,", maxJsonCost) + "0]",
       "the text holds too many values"},
      {"too many objects",
       "[" + repeated("{\"a\":0},", maxJsonCost / 64) + "0]",
       "the text holds too many values"},
  };
  for (const BrokenJson &broken : cases) {
    SCOPED_TRACE(broken.name);
    expectFailure(parseJson(broken.text, "x.json"), "x.json", broken.expected);
  }
}

TEST(Json, AcceptsWhatIsOnlyUnusual) {
  for (StringRef text :
       {"{}", "[]", "3", "\"\"",
        "{\"a\": [1, 2, {\"a\": 1}], \"b\": {\"a\": 2}}", "[\"a\", \"a\"]",
        "{\"a\": \"a\", \"b\": \"a\"}", "{\"a,\": \"}{\"}",
        "{\"\": 1, \"a\\\"\": 2, \"a\": 3}"})
    EXPECT_EQ(failure(parseJson(text, "x")), "") << text.str();
  EXPECT_EQ(failure(parseJson(repeated("[", 64) + repeated("]", 64), "x")), "");
}

TEST(Json, Integers) {
  const auto integer = [](StringRef text) {
    return jsonInteger(cantFail(parseJson(text, "x")));
  };
  EXPECT_EQ(integer("12"), 12);
  EXPECT_EQ(integer("-3"), -3);
  EXPECT_EQ(integer("1e4"), 10000);
  EXPECT_EQ(integer("131072.0"), 131072);
  EXPECT_EQ(integer("4611686018427387903"), std::nullopt);
  EXPECT_EQ(integer("4611686018427000000"), 4611686018427000000);
  EXPECT_EQ(integer("9.223372036854775808e18"), std::nullopt);
  EXPECT_EQ(integer("18446744073709551615"), std::nullopt);
  EXPECT_EQ(integer("1e999"), std::nullopt);
  EXPECT_EQ(integer("1.5"), std::nullopt);
  EXPECT_EQ(integer("\"1\""), std::nullopt);
  EXPECT_EQ(integer("true"), std::nullopt);
}

TEST(InputError, QuotesForOneLineOfATerminal) {
  EXPECT_EQ(sputnik::quoted("a b"), "'a b'");
  EXPECT_EQ(sputnik::quoted("a\nb\x1b[2J"), "'a\\x0ab\\x1b[2J'");
  EXPECT_EQ(sputnik::quoted("<｜User｜>"), "'<｜User｜>'");
  EXPECT_EQ(sputnik::quoted("\xff\xfe"), "'\\xff\\xfe'");
  EXPECT_EQ(sputnik::quoted("\xc2\x9b"), "'\\xc2\\x9b'");
  EXPECT_EQ(sputnik::quoted(std::string(1000, 'x')),
            "'" + std::string(96, 'x') + "...'");
  EXPECT_EQ(sputnik::quoted(std::string(95, 'x') + "｜"),
            "'" + std::string(95, 'x') + "...'");
  EXPECT_EQ(shapeText({2, 3}), "[2, 3]");
  EXPECT_EQ(shapeText({}), "[]");
}

} // namespace
} // namespace sputnik::testing
