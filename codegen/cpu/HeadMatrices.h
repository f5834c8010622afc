//===- HeadMatrices.h - A weight that holds a matrix per head ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_HEADMATRICES_H
#define SPUTNIK_CODEGEN_CPU_HEADMATRICES_H

#include "codegen/cpu/PanelTile.h"
#include "codegen/cpu/Phase.h"

namespace sputnik::cpu {

/// The matrices of all heads, one under the other, in panels.
struct HeadMatrices {
  HeadMatrices(Phase &p, r1::LatentAttentionOp op,
               mlir::FlatSymbolRefAttr name);

  mlir::RankedTensorType type;
  r1::EncodingAttr encoding;
  int64_t columns;
  int64_t rows; ///< Of one head.
  mlir::Value base;

  /// Called once, before multiply(): rows will be of `element` where the matrices
  /// can be multiplied with such, else f32.
  void prepare(Phase &p, mlir::Type element);
  mlir::Type getElement() const { return element; }

  llvm::SmallVector<mlir::Value> panelsAt(Phase &p, mlir::Value head,
                                          mlir::Value panel,
                                          int64_t count) const;

  /// Multiplies `features` rows of a head's matrix with `inputs`; `body` gets the
  /// sums of each tile of panels from `panel` on.
  void multiply(Phase &p, mlir::Value head, int64_t features,
                int64_t panelsAtOnce, llvm::ArrayRef<mlir::Value> inputs,
                llvm::function_ref<void(mlir::Value panel, const TileSums &)>
                    body) const;

private:
  std::optional<DotPrimitive> dot;
  mlir::Type element; ///< Of the rows that `dot` multiplies.
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_HEADMATRICES_H
