//===- DeepSeekV3.h - The deepseek_v3 architecture --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_DEEPSEEKV3_H
#define SPUTNIK_IMPORTER_DEEPSEEKV3_H

#include "importer/ModelBuilder.h"

namespace sputnik {

/// Latent attention and mixtures of experts behind the first, dense layers.
/// Errors: see importModel.
llvm::Error buildDeepSeekV3(ModelBuilder &model);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_DEEPSEEKV3_H
