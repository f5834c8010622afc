//===- Llama.h - The llama architecture -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_LLAMA_H
#define SPUTNIK_IMPORTER_LLAMA_H

#include "importer/ModelBuilder.h"

namespace sputnik {

/// DeepSeek-R1-Distill-Llama: a dense decoder whose attention has biases if the
/// configuration says so.
llvm::Error buildLlama(ModelBuilder &model);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_LLAMA_H
