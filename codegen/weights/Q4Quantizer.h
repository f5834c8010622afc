//===- Q4Quantizer.h - Rows of values in two levels of scales ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_Q4QUANTIZER_H
#define SPUTNIK_CODEGEN_WEIGHTS_Q4QUANTIZER_H

#include "dialect/R1.h"

#include <vector>

namespace sputnik {

/// A row in scheme `q4`, not yet packed.
struct Q4Row {
  std::vector<int8_t> nibbles; ///< Of whole blocks.
  std::vector<int8_t> steps;   ///< One for each block.
  float scale = 0;

  float value(int64_t column) const {
    return valueOf(nibbles[column], steps[column / r1::kQuantBlock], scale);
  }
  static float valueOf(int8_t nibble, int8_t step, float scale) {
    const int shift = step & 1 ? r1::kQ4Shift : 0;
    return static_cast<float>(r1::kQ4Table[nibble] + shift) *
           (static_cast<float>(step) * scale);
  }
};

/// Chooses what stores `values`, of magnitudes below 2^127, with a small sum of
/// importance * error^2. There is one `importance` for each value, finite and
/// not negative; none counts as equal. It is multiplied by sqrt(mean square of
/// the row + value^2): a model's predictions change less when its large weights
/// are the more exact ones. Blocks that are negligible beside the
/// row's largest value, and rows whose magnitudes are all below 2^-100, become
/// zero. The result does not depend on the host.
void quantizeQ4(llvm::ArrayRef<float> values, llvm::ArrayRef<float> importance,
                Q4Row &row);

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_Q4QUANTIZER_H
