//===- ModelInfo.cpp - What an executable knows about its model -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/ModelInfo.h"

#include <nlohmann/json.hpp>

namespace sputnik::rt {

using Json = nlohmann::ordered_json;

static Json parse(const abi::Model &model) {
  return Json::parse(model.info, model.info + model.infoBytes, nullptr,
                     /*allow_exceptions=*/false);
}

/// The member `key` if `object` is an object that has it, else null.
static const Json &member(const Json &object, const char *key) {
  static const Json none;
  if (!object.is_object())
    return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

ModelInfo readModelInfo(const abi::Model &model) {
  const Json root = parse(model);
  ModelInfo info;
  const Json &generation = member(root, "generation_config");
  const auto inRange = [&](const char *key, double low, double high) {
    const Json &value = member(generation, key);
    return value.is_number() && value.get<double>() >= low &&
           value.get<double>() <= high;
  };
  if (inRange("temperature", 0, 100))
    info.sampling.temperature = generation["temperature"];
  if (inRange("top_p", 0, 1))
    info.sampling.topP = generation["top_p"];
  if (inRange("top_k", 0, INT32_MAX))
    info.sampling.topK = generation["top_k"].get<int64_t>();
  if (const Json &ids = member(generation, "eos_token_ids"); ids.is_array())
    for (const Json &id : ids)
      if (id.is_number_integer() && id.get<int64_t>() >= 0 &&
          id.get<int64_t>() < model.vocabSize)
        info.eosIds.push_back(id.get<int32_t>());
  if (const Json &version = member(member(root, "sputnik"), "version");
      version.is_string())
    info.version = version;
  return info;
}

/// ` value` for the end of a line; sentences of a list get lines of their own.
static std::string valueText(const Json &value, const std::string &indent) {
  if (value.is_string())
    return " " + value.get<std::string>() + "\n";
  if (!value.is_array())
    return " " + value.dump() + "\n";
  const bool sentences = !value.empty() && value.front().is_string();
  std::string text;
  for (const Json &element : value)
    text += sentences && element.is_string()
                ? "\n" + indent + "  " + element.get<std::string>()
                : (text.empty() ? " " : ", ") + element.dump();
  return text + "\n";
}

Result<std::string> describeModel(const abi::Model &model) {
  const Json root = parse(model);
  if (!root.is_object())
    return Error{"the description inside this executable is not JSON"};
  std::string text;
  for (const auto &[section, content] : root.items()) {
    if (!content.is_object()) {
      text += section + ":" + valueText(content, "");
      continue;
    }
    text += section + ":\n";
    for (const auto &[key, value] : content.items())
      text += "  " + key + ":" + valueText(value, "  ");
  }
  return text;
}

} // namespace sputnik::rt
