//===- FloatPanels.h - Matrices made and multiplied in scratch --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_FLOATPANELS_H
#define SPUTNIK_CODEGEN_CPU_FLOATPANELS_H

#include "codegen/cpu/PanelTile.h"
#include "codegen/cpu/Phase.h"

namespace sputnik::cpu {

/// How a product lies in scratch whose factors are both made by a kernel: one as
/// panels of 16 rows, like a packed weight, the other as rows, like activations.
/// Both are bf16, with the target's instruction for pairs, or f32.
class FloatPanels {
public:
  static constexpr int64_t kPanel = DotPrimitive::kPanel;

  /// Takes bf16 where `narrow` allows it and the target multiplies pairs.
  FloatPanels(Phase &p, bool narrow);

  /// Columns of a line, which is 64 bytes of a panel.
  int64_t getStep() const { return dot.getLine(); }
  /// Bytes of a panel of 16 rows, and of one row of the other factor.
  int64_t getPanelBytes(int64_t columns) const;
  int64_t getRowBytes(int64_t columns) const;
  /// Panels and rows whose sums stay in registers.
  Tile getTile() const;

  /// Writes the line of a panel that begins with `column`: 16 f32 for each of
  /// getStep() columns.
  void storeLine(mlir::Value panel, mlir::Value column,
                 mlir::ValueRange columns) const;
  /// Writes f32 values to a row from `column` on.
  void storeRow(mlir::Value row, mlir::Value column, mlir::Value values) const;

  /// `sums`, [panel * rows + row] of 16 lanes, and the products over `columns`,
  /// or over a number of columns that is a multiple of 16.
  llvm::SmallVector<mlir::Value> multiply(llvm::ArrayRef<mlir::Value> panels,
                                          llvm::ArrayRef<mlir::Value> rows,
                                          int64_t columns,
                                          mlir::ValueRange sums) const;
  llvm::SmallVector<mlir::Value> multiply(llvm::ArrayRef<mlir::Value> panels,
                                          llvm::ArrayRef<mlir::Value> rows,
                                          mlir::Value columns,
                                          mlir::ValueRange sums) const;

private:
  mlir::Type element() const;

  Phase &p;
  DotPrimitive dot;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_FLOATPANELS_H
