//===- RowOps.h - Ops that work on each row by itself -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_ROWOPS_H
#define SPUTNIK_CODEGEN_GPU_ROWOPS_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// Consecutive features of one row, on which a block runs op after op.
struct RowSlice {
  mlir::Value row;
  int64_t features = 0; ///< In the slice.
  mlir::Value first; ///< Of them in the whole row; null: 0.
  /// Where the slice of a value lies that is not in its rows.
  llvm::DenseMap<mlir::Value, mlir::Value> locals;
  /// The slice belongs to one result of a split: an op that stores several
  /// values stores those in `locals` only.
  bool localsOnly = false;

  /// Address of the slice of `value`.
  mlir::Value ptr(Kernel &k, mlir::Value value) const;
};

/// Whether emitRowOp takes `op`.
bool isRowOp(mlir::Operation *op);

/// Emits `op` for one slice. Operands and results lie where the slice says; a
/// result may take the place of an operand. Nobody waits for anybody at its
/// end.
void emitRowOp(Kernel &k, mlir::Operation *op, const RowSlice &slice);

/// Emits a choice of experts from one row's scores: i32 experts in ascending
/// order, and their f32 factors. The block works together.
void emitRoute(Kernel &k, r1::RouteOp op, mlir::Value scores,
               mlir::Value chosen, mlir::Value factors);

/// silu(gate) * up.
mlir::Value emitSwiGLU(Kernel &k, mlir::Value gate, mlir::Value up);
/// The same of sums at `sums`, in which panels of gate and up alternate: `count`
/// features from `first` on, as far as there are any of `features`, go to their
/// places in `to`. The team works on them together.
void emitSwiGLUPanels(Kernel &k, mlir::Value sums, mlir::Value first,
                      int64_t count, int64_t features, mlir::Value to);

/// cos and sin of an f64 angle of up to 2^31 radians, within 2^-50.
std::pair<mlir::Value, mlir::Value> emitCosSin(Kernel &k, mlir::Value angle);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_ROWOPS_H
