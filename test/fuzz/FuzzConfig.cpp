//===- FuzzConfig.cpp - Any bytes as config.json --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FuzzInput.h"

#include "importer/Json.h"

using namespace sputnik;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::Expected<llvm::json::Value> value = parseJson(
      llvm::StringRef(reinterpret_cast<const char *>(data), size), "x");
  if (!value) {
    requireOneLine(value.takeError());
    return 0;
  }
  if (llvm::Expected<ModelConfig> config = modelConfigFromJson(*value, "x"))
    requireConfig(*config);
  else
    requireOneLine(config.takeError());

  llvm::Expected<GenerationConfig> generation =
      generationConfigFromJson(*value, "x", 100);
  if (!generation) {
    requireOneLine(generation.takeError());
    return 0;
  }
  if (generation->temperature)
    require(*generation->temperature >= 0 && *generation->temperature <= 100);
  if (generation->topP)
    require(*generation->topP > 0 && *generation->topP <= 1);
  if (generation->topK)
    require(*generation->topK >= 1);
  for (int64_t id : generation->eosIds)
    require(id >= 0 && id < 100);
  return 0;
}
