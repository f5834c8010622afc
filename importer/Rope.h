//===- Rope.h - Rotary frequencies of a model -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_ROPE_H
#define SPUTNIK_IMPORTER_ROPE_H

#include "importer/ModelConfig.h"

#include <vector>

namespace sputnik {

/// The angle in radians that each position turns pair i of `rotaryDim / 2`
/// pairs by, whatever scaling rule the model has. `rotaryDim` is even;
/// divisors, if any, are one per pair. Cosines and sines are to be multiplied
/// with RopeConfig::cosSinFactor().
std::vector<double> ropeFrequencies(const RopeConfig &rope, int64_t rotaryDim);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_ROPE_H
