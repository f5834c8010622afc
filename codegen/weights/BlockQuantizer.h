//===- BlockQuantizer.h - Blocks of values to quants and a scale *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_BLOCKQUANTIZER_H
#define SPUTNIK_CODEGEN_WEIGHTS_BLOCKQUANTIZER_H

#include "dialect/R1.h"

namespace sputnik {

/// Values that share a scale. A nibble is what the image stores of a value in
/// `q4` and `q4_plain`; in `q8` it is the value's signed byte.
struct QuantizedBlock {
  int8_t quants[r1::kQuantBlock];
  float scale;
};

/// Quantises `count` (1 to kQuantBlock) values, of magnitudes below 2^127, in a
/// block scheme; the quants of missing values are what stands for the value
/// nearest to zero. Blocks whose magnitudes are all below 2^-100 become zero.
///
/// * `q8`, `q4_plain`: a block that the scheme can hold exactly, such as one of
///   GGUF's Q8_0 or Q4_0, keeps its values. Else the scale is that of the value
///   of largest magnitude: q = 127 in `q8`, -8 in `q4_plain`.
/// * `q4`: the bf16 scale, of those tried, with the least sum of
///   (x^2 + mean x^2) * error^2. Large weights add most to a sum of products,
///   so their errors count more.
///
/// The result does not depend on the host.
QuantizedBlock quantizeBlock(r1::Scheme scheme, const float *values,
                             int64_t count);

/// The value of a quant without its scale.
inline float quantValue(r1::Scheme scheme, int8_t quant) {
  switch (scheme) {
  case r1::Scheme::Q8:
    return quant;
  case r1::Scheme::Q4:
    return r1::kQ4Table[quant];
  case r1::Scheme::Q4Plain:
    return static_cast<float>(quant - 8);
  case r1::Scheme::F32:
  case r1::Scheme::BF16:
    break;
  }
  llvm_unreachable("only block schemes have quants");
}

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_BLOCKQUANTIZER_H
