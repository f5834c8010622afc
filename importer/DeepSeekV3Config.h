//===- DeepSeekV3Config.h - Keys of deepseek_v3 -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_DEEPSEEKV3CONFIG_H
#define SPUTNIK_IMPORTER_DEEPSEEKV3CONFIG_H

#include "importer/ConfigFields.h"
#include "importer/ModelConfig.h"

namespace sputnik {

/// Reads what config.json says of latent attention, experts and stored scales;
/// the sizes that all families have are read already. `object` is what `fields`
/// reads.
llvm::Error readDeepSeekV3(JsonFields &fields, const llvm::json::Object &object,
                           ModelConfig &config);

/// The same from the metadata of a GGUF file of the architecture `deepseek2`.
void readDeepSeek2(GgufFields &fields, ModelConfig &config);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_DEEPSEEKV3CONFIG_H
