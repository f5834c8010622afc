//===- DenseDecoder.h - Decoders without experts ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_DENSEDECODER_H
#define SPUTNIK_IMPORTER_DENSEDECODER_H

#include "importer/ModelBuilder.h"

namespace sputnik {

/// A decoder of equal layers: grouped-query attention with rotate-half RoPE,
/// then SwiGLU, each after an RMS norm and added to the residual stream. What
/// architectures of this form differ in:
struct DenseDecoder {
  bool queryKeyValueBias = false;
  bool outputBias = false;
  /// RMS norms over each head of queries and keys, before RoPE.
  bool queryKeyNorm = false;
};

/// Writes weights and `@forward`. Errors: see importModel.
llvm::Error buildDenseDecoder(ModelBuilder &model, const DenseDecoder &decoder);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_DENSEDECODER_H
