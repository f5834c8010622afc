//===- BlockQuantizer.h - Blocks of values to quants and a scale *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_BLOCKQUANTIZER_H
#define SPUTNIK_CODEGEN_WEIGHTS_BLOCKQUANTIZER_H

#include "dialect/R1.h"

namespace sputnik {

/// Values that share a scale: what the image stores of a value, the nibble in
/// `q4_plain`, the signed byte in `q8`.
struct QuantizedBlock {
  int8_t quants[r1::kQuantBlock];
  float scale;
};

/// Quantises `count` (1 to kQuantBlock) values, of magnitudes below 2^127, in
/// `q8` or `q4_plain`; the quants of missing values stand for zero. Blocks whose
/// magnitudes are all below 2^-100 become zero. A block that the scheme can hold
/// exactly, such as one of GGUF's Q8_0 or Q4_0, keeps its values. Else the scale
/// is that of the value of largest magnitude: q = 127 in `q8`, -8 in `q4_plain`.
/// The result does not depend on the host.
QuantizedBlock quantizeBlock(r1::Scheme scheme, const float *values,
                             int64_t count);

/// The value of a quant without its scale.
inline float quantValue(r1::Scheme scheme, int8_t quant) {
  return static_cast<float>(scheme == r1::Scheme::Q8 ? quant : quant - 8);
}

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_BLOCKQUANTIZER_H
