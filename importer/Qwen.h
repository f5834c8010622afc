//===- Qwen.h - The qwen2 and qwen3 architectures ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_QWEN_H
#define SPUTNIK_IMPORTER_QWEN_H

#include "importer/ModelBuilder.h"

namespace sputnik {

/// DeepSeek-R1-Distill-Qwen: a dense decoder with biases on q, k and v.
llvm::Error buildQwen2(ModelBuilder &model);

/// DeepSeek-R1-0528-Qwen3: a dense decoder with norms over the heads of q and
/// k.
llvm::Error buildQwen3(ModelBuilder &model);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_QWEN_H
