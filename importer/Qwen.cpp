//===- Qwen.cpp - The qwen2 and qwen3 architectures -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Qwen.h"

#include "importer/DenseDecoder.h"

namespace sputnik {

llvm::Error buildQwen2(ModelBuilder &model) {
  return buildDenseDecoder(model, {.queryKeyValueBias = true});
}

llvm::Error buildQwen3(ModelBuilder &model) {
  return buildDenseDecoder(model,
                           {.queryKeyValueBias = model.config().attentionBias,
                            .outputBias = model.config().attentionOutputBias,
                            .queryKeyNorm = true});
}

} // namespace sputnik
