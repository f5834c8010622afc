//===- FuzzJson.cpp - Any bytes as JSON -----------------------------------===//
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
  (void)jsonInteger(*value);
  if (const llvm::json::Array *array = value->getAsArray())
    for (const llvm::json::Value &element : *array)
      (void)jsonInteger(element);
  return 0;
}
