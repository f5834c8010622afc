//===- Float8.h - Weights of 8-bit floats in registers ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bytes of E4M3 (a sign, 4 bits of exponent with bias 7, 3 of significand; no
// infinities) as wider floats. All conversions are exact; NaNs do not occur, as
// weights are finite.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_CODEGEN_CPU_FLOAT8_H
#define SPUTNIK_CODEGEN_CPU_FLOAT8_H

#include "codegen/cpu/Emit.h"
#include "dialect/R1.h"

namespace sputnik::cpu {

/// 16 words, of two bf16 each, as f32: the lower ones and the upper ones.
std::pair<mlir::Value, mlir::Value> widenPairs(Emit &e, mlir::Value words);

/// One byte as f32: slow, for oracles and lookups.
mlir::Value float8ToFloat(Emit &e, mlir::Value byte);

/// Conversion of 16 words of four bytes each. By tables of both halves of a bf16
/// where the target looks up bytes among 128 (AVX-512 VBMI), elsewhere by
/// arithmetic.
class Float8Values {
public:
  /// Emits what loops need over and over; called once, before them.
  void prepare(Emit &e, r1::TargetAttr target);
  /// Four vectors of 16 f32, by byte.
  llvm::SmallVector<mlir::Value, 4> floats(Emit &e, mlir::Value words) const;
  /// Two vectors of 16 pairs of bf16: the first two bytes of each word, and the
  /// others.
  llvm::SmallVector<mlir::Value, 4> pairs(Emit &e, mlir::Value words) const;

private:
  llvm::SmallVector<mlir::Value, 4> lookUpPairs(Emit &e,
                                                mlir::Value words) const;

  /// The lower and the upper byte of the bf16 of each magnitude, in two vectors
  /// each; null without such a lookup.
  mlir::Value lower[2], upper[2];
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_FLOAT8_H
