//===- Float8.h - Rounding to 8-bit floats ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_FLOAT8_H
#define SPUTNIK_CODEGEN_WEIGHTS_FLOAT8_H

#include "llvm/ADT/ArrayRef.h"

#include <cstdint>

namespace sputnik {

/// The largest value of E4M3, the 8-bit float without infinities.
inline constexpr float kFloat8Largest = 448;

/// Stores values / scale, of magnitudes of at most kFloat8Largest, as the
/// nearest E4M3, ties to even. A zero keeps its sign. `out` has as many bytes.
/// The result does not depend on the host.
void toFloat8(llvm::ArrayRef<float> values, float scale, uint8_t *out);

/// Stores up to kFloat8Block values, of magnitudes below 2^127, that share a
/// scale, and gives that. It is `known` where that gives the very values, as for
/// what was stored with it before; else the largest becomes kFloat8Largest.
/// Blocks whose magnitudes are all below 2^-100 become zero.
float quantizeFloat8(llvm::ArrayRef<float> values, float known, uint8_t *out);

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_FLOAT8_H
