//===- ByteRows.h - Values rounded to 8 bits --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_BYTEROWS_H
#define SPUTNIK_CODEGEN_CPU_BYTEROWS_H

#include "codegen/cpu/Emit.h"

namespace sputnik::cpu {

/// Values as signed bytes with one scale, which takes the largest magnitude to
/// 127: value = word * scale.
struct RoundedBytes {
  static constexpr int64_t kLanes = 16;
  llvm::SmallVector<mlir::Value> words; ///< [16] i32 each.
  mlir::Value scale;                    ///< f32.
};

/// Rounds vectors of 16 f32, to nearest with ties to even.
RoundedBytes roundToBytes(Emit &e, llvm::ArrayRef<mlir::Value> values);

/// 16 words as bytes.
mlir::Value narrowToBytes(Emit &e, mlir::Value words);

/// Rounds one row of f32 to i8 groups, laid out as r1::getRowBytes says.
void emitRoundedRow(Emit &e, mlir::Value in, mlir::Value out, int64_t features);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_BYTEROWS_H
