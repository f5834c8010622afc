//===- FuzzShardIndex.cpp - Any bytes as model.safetensors.index.json -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FuzzInput.h"

#include "importer/Json.h"
#include "importer/ShardIndex.h"

using namespace sputnik;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::Expected<llvm::json::Value> value = parseJson(
      llvm::StringRef(reinterpret_cast<const char *>(data), size), "x");
  if (!value) {
    requireOneLine(value.takeError());
    return 0;
  }
  llvm::Expected<ShardIndex> index = parseShardIndex(*value, "x");
  if (!index) {
    requireOneLine(index.takeError());
    return 0;
  }
  require(!index->empty());
  for (const auto &[name, tensors] : *index) {
    require(!tensors.empty());
    require(!name.empty() && name != "." && name != "..");
    require(name.find('/') == std::string::npos);
    require(name.find('\0') == std::string::npos);
  }
  return 0;
}
