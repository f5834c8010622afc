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

namespace sputnik::cpu {

/// 16 words of four bytes each as four vectors of 16 f32, by byte.
llvm::SmallVector<mlir::Value, 4> float8ToFloats(Emit &e, mlir::Value words);

/// One byte as f32: slow, for oracles and lookups.
mlir::Value float8ToFloat(Emit &e, mlir::Value byte);

/// Conversion to pairs of bf16, for targets with AVX512BW.
class Float8Pairs {
public:
  /// Emits what loops need over and over; called once, before them.
  void prepare(Emit &e);
  /// 16 words of four bytes each as two vectors of 16 pairs: the first two
  /// bytes of each word, and the others.
  llvm::SmallVector<mlir::Value, 4> convert(Emit &e, mlir::Value words) const;

private:
  /// The bf16 of the magnitudes below the normal numbers, 0 to 7.
  mlir::Value subnormals;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_FLOAT8_H
