//===- ModelInfo.h - What an executable knows about its model -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_MODELINFO_H
#define SPUTNIK_RUNTIME_MODELINFO_H

#include "runtime/Abi.h"
#include "runtime/Sampler.h"

#include <cstdint>
#include <string>
#include <vector>

namespace sputnik::rt {

/// The part of Model::info that the runtime acts upon.
struct ModelInfo {
  /// `generation_config`, with R1's recommendations for what it does not say.
  SamplingOptions sampling;
  /// Ids that end generation.
  std::vector<int32_t> eosIds;
  /// The compiler's version; empty if unknown.
  std::string version;
};

/// Reads Model::info. Keys that are missing or of another type are passed over.
ModelInfo readModelInfo(const abi::Model &model);

/// Model::info for people: one `key: value` line for each value.
Result<std::string> describeModel(const abi::Model &model);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_MODELINFO_H
