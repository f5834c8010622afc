//===- ShardIndex.cpp - Which file holds which tensor ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ShardIndex.h"

#include "importer/InputError.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;

namespace sputnik {

/// DeepSeek-R1 has 163.
static constexpr size_t maxShards = 10000;

static bool isPlainFileName(StringRef name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         all_of(name, [](unsigned char c) {
           return c >= 0x20 && c < 0x7f && c != '/' && c != '\\';
         });
}

Expected<ShardIndex> parseShardIndex(const json::Value &value, StringRef file) {
  const json::Object *object = value.getAsObject();
  const json::Object *map = object ? object->getObject("weight_map") : nullptr;
  if (!map)
    return inputError(file, "has no 'weight_map' object");
  if (map->empty())
    return inputError(file, "'weight_map' is empty");
  ShardIndex shards;
  for (const auto &[key, shard] : *map) {
    StringRef tensor = key;
    std::optional<StringRef> name = shard.getAsString();
    if (!name)
      return inputError(file, "the file of tensor " + quoted(tensor) +
                                  " is not a string");
    if (!isPlainFileName(*name))
      return inputError(file, "the file of tensor " + quoted(tensor) + " is " +
                                  quoted(*name) +
                                  ", expected a plain file name");
    shards[name->str()].insert(tensor);
  }
  if (shards.size() > maxShards)
    return inputError(file, "names " + Twine(shards.size()) +
                                " files, expected at most " + Twine(maxShards));
  return shards;
}

} // namespace sputnik
