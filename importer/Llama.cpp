//===- Llama.cpp - The llama architecture ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Llama.h"

#include "importer/DenseDecoder.h"

namespace sputnik {

llvm::Error buildLlama(ModelBuilder &model) {
  return buildDenseDecoder(model,
                           {.queryKeyValueBias = model.config().attentionBias,
                            .outputBias = model.config().attentionOutputBias});
}

} // namespace sputnik
