//===- FuzzSafeTensors.cpp - Any bytes as a safetensors file --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FuzzInput.h"

#include "importer/SafeTensors.h"

using namespace sputnik;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const llvm::ArrayRef<uint8_t> bytes(data, size);
  if (llvm::Expected<SafeTensorsFile> file = SafeTensorsFile::parse(bytes, "x"))
    requireTensors(file->tensors(), bytes);
  else
    requireOneLine(file.takeError());
  return 0;
}
