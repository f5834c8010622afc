//===- ConfigFields.cpp - Checked reading of configuration keys -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ConfigFields.h"

#include "importer/InputError.h"
#include "importer/Json.h"

#include <charconv>
#include <cmath>

using namespace llvm;

namespace sputnik {

/// The shortest text that stands for the number; whole numbers without an
/// exponent.
static std::string numberText(double value) {
  if (std::abs(value) < 1e15 && value == std::floor(value))
    return std::to_string(static_cast<int64_t>(value));
  char text[32];
  return std::string(text, std::to_chars(text, std::end(text), value).ptr);
}

void ConfigFields::fail(const Twine &text) {
  if (message.empty())
    message = text.str();
}

Error ConfigFields::takeError() {
  if (message.empty())
    return Error::success();
  return inputError(fileName, message);
}

void ConfigFields::wrong(StringRef key, const Twine &expected) {
  Field field = find(key);
  fail("key " + quoted(fullKey(key)) + " is " +
       (field.present ? field.text : "missing") + ", expected " + expected);
}

std::optional<int64_t>
ConfigFields::optionalInteger(StringRef key, int64_t least, int64_t most) {
  Field field = find(key);
  if (!field.present)
    return std::nullopt;
  if (field.integer && *field.integer >= least && *field.integer <= most)
    return field.integer;
  wrong(key, "a whole number from " + Twine(least) + " to " + Twine(most));
  return least;
}

int64_t ConfigFields::integer(StringRef key, int64_t least, int64_t most,
                              std::optional<int64_t> fallback) {
  if (std::optional<int64_t> value = optionalInteger(key, least, most))
    return *value;
  if (!fallback)
    wrong(key, "a whole number from " + Twine(least) + " to " + Twine(most));
  return fallback.value_or(least);
}

static std::string rangeText(RealRange range) {
  return (range.open ? "a number above " : "a number from ") +
         numberText(range.least) + (range.open ? ", at most " : " to ") +
         numberText(range.most);
}

std::optional<double> ConfigFields::optionalReal(StringRef key,
                                                 RealRange range) {
  Field field = find(key);
  if (!field.present)
    return std::nullopt;
  if (field.number && range.holds(*field.number))
    return field.number;
  wrong(key, rangeText(range));
  return range.most;
}

double ConfigFields::real(StringRef key, RealRange range,
                          std::optional<double> fallback) {
  if (std::optional<double> value = optionalReal(key, range))
    return *value;
  if (!fallback)
    wrong(key, rangeText(range));
  return fallback.value_or(range.most);
}

bool ConfigFields::boolean(StringRef key, bool fallback) {
  Field field = find(key);
  if (!field.present)
    return fallback;
  if (!field.boolean)
    wrong(key, "true or false");
  return field.boolean.value_or(fallback);
}

std::string ConfigFields::string(StringRef key,
                                 std::optional<StringRef> fallback) {
  Field field = find(key);
  if (field.present ? !field.string : !fallback)
    wrong(key, "a string");
  if (field.string)
    return field.string->str();
  return fallback.value_or("").str();
}

ConfigFields::Field JsonFields::find(StringRef key) {
  const json::Value *value = object.get(key);
  Field field;
  if (!value || value->kind() == json::Value::Null)
    return field;
  field.present = true;
  field.integer = jsonInteger(*value);
  field.number = value->getAsNumber();
  field.boolean = value->getAsBoolean();
  field.string = value->getAsString();
  if (field.integer)
    field.text = std::to_string(*field.integer);
  else if (field.number)
    field.text = numberText(*field.number);
  else if (field.boolean)
    field.text = *field.boolean ? "true" : "false";
  else if (field.string)
    field.text = quoted(*field.string);
  else
    field.text = value->getAsArray() ? "an array" : "an object";
  return field;
}

ConfigFields::Field GgufFields::find(StringRef key) {
  const GgufValue *value = gguf.find(fullKey(key));
  Field field;
  if (!value)
    return field;
  field.present = true;
  field.integer = value->asInteger();
  field.number = value->asNumber();
  field.boolean = value->asBool();
  field.string = value->asString();
  if (field.integer)
    field.text = std::to_string(*field.integer);
  else if (field.number)
    field.text = numberText(*field.number);
  else if (field.boolean)
    field.text = *field.boolean ? "true" : "false";
  else if (field.string)
    field.text = quoted(*field.string);
  else
    field.text = value->kindText();
  return field;
}

} // namespace sputnik
