//===- ModelConfigChecks.h - What both configuration readers share -*- C++ -*-//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_MODELCONFIGCHECKS_H
#define SPUTNIK_IMPORTER_MODELCONFIGCHECKS_H

#include "importer/ConfigFields.h"
#include "importer/ModelConfig.h"

namespace sputnik {

inline constexpr int64_t maxDimension = 1 << 24;
inline constexpr int64_t maxLayers = 1000;
inline constexpr int64_t maxLatent = 1 << 14;
inline constexpr int64_t maxExperts = 4096;
inline constexpr int64_t maxHeadDim = 4096;
inline constexpr int64_t maxContext = 1 << 30;

/// A family of models whose configuration Sputnik can read.
struct ModelFamily {
  llvm::StringLiteral modelType;        ///< In config.json.
  llvm::StringLiteral ggufArchitecture; ///< `general.architecture`.
  bool attentionBias; ///< q, k, v have one, whatever the file says.
  bool qkNorm;
  bool ggufPermutesQK;
  int64_t headDim; ///< If the file does not say; 0: hidden size / heads.
};

llvm::ArrayRef<ModelFamily> modelFamilies();

/// Records an error in `fields` and returns null if the family is unknown.
const ModelFamily *familyOfModelType(ConfigFields &fields,
                                     llvm::StringRef modelType);
const ModelFamily *familyOfGguf(ConfigFields &fields,
                                llvm::StringRef architecture);

/// The keys that a file uses, for reading and for errors.
struct ConfigKeys {
  llvm::StringLiteral hidden, intermediate, layers, heads, kvHeads, headDim,
      positions, eps;
};

/// Reads the sizes and checks them against each other. `family.headDim` and
/// hidden / heads stand in for an absent headDim.
void readSizes(ConfigFields &fields, const ConfigKeys &keys,
               const ModelFamily &family, ModelConfig &config);

/// Checks the relations within `rope`, whose values are in range.
void checkRope(ConfigFields &fields, const RopeConfig &rope);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_MODELCONFIGCHECKS_H
