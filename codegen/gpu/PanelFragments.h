//===- PanelFragments.h - Packed rows as matrix fragments -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_PANELFRAGMENTS_H
#define SPUTNIK_CODEGEN_GPU_PANELFRAGMENTS_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// How a warp multiplies panels of 16 packed weight rows with activation rows
/// on the tensor cores, a *step* of columns at a time. Weights are the left
/// operand, activations the right one: a sum has a feature of the panel as its
/// row, and an activation row as its column.
///
/// bf16 weights meet activations that are rounded to bf16 (m16n8k16), and so do
/// those in fp8, which become bf16 in registers; q8 and q4 meet bytes (m16n8k32):
/// a block of 32 columns is one product, exact in i32.
///
/// In shared memory a step of a panel lies as in the image (in fp8, where a block
/// is two steps, half of its values behind its scales), a step of an
/// activation row takes 128 bytes. 16-byte pieces are swapped so that the lanes
/// of a warp read different banks.
class PanelFragments {
public:
  /// Whether tensor cores multiply weights of `encoding`.
  static bool supports(r1::EncodingAttr encoding);
  explicit PanelFragments(r1::EncodingAttr encoding);

  /// Bytes of a step of an activation row.
  static constexpr int64_t kRowBytes = 128;
  bool isInteger() const { return integer; }
  /// Whether weights change their form in registers.
  bool converts() const { return encoding.getBlock() != 0; }
  int64_t stepColumns() const { return integer ? kRowBytes : kRowBytes / 2; }
  /// Bytes of a step of a panel, and of all of its steps.
  int64_t panelStepBytes() const;
  int64_t panelBytes(int64_t columns) const;

  /// Where byte `offset` of `step` lies in a panel of the image.
  mlir::Value offsetInImage(Kernel &k, mlir::Value step,
                            mlir::Value offset) const;
  /// Where byte `offset` of a step of a panel (of activation row `row`) lies.
  mlir::Value placeInPanel(Kernel &k, mlir::Value offset) const;
  mlir::Value placeInRow(Kernel &k, mlir::Value row, mlir::Value offset) const;

  /// A step in shared memory: panels, activation rows, the rows' f32 scales.
  struct Step {
    mlir::Value panels, rows, scales;
  };
  /// Sums of `panels` panels from `firstPanel` on by `8 rowGroups` rows from
  /// `firstRow` on: four for each panel and group of eight rows.
  using Sums = llvm::SmallVector<mlir::Value>;
  struct Tile {
    mlir::Value firstPanel, firstRow;
    int64_t panels, rowGroups;
  };
  Sums multiply(Kernel &k, const Step &step, const Tile &tile,
                mlir::ValueRange sums) const;

  /// Which feature of its panel, and which row of its group, this lane's sum i
  /// belongs to.
  mlir::Value feature(Kernel &k, int64_t i) const;
  mlir::Value row(Kernel &k, int64_t i) const;
  /// What the sums of `feature` are still to be multiplied with; null: nothing.
  mlir::Value featureScale(Kernel &k, mlir::Value panel, int64_t columns,
                           mlir::Value feature) const;

private:
  bool isNibbles() const {
    return encoding.getScheme() == r1::Scheme::Q4 ||
           encoding.getScheme() == r1::Scheme::Q4Plain;
  }
  bool isFloat8() const { return encoding.getScheme() == r1::Scheme::FP8; }
  Sums multiplyFloats(Kernel &k, const Step &step, const Tile &tile,
                      mlir::ValueRange sums) const;
  Sums multiplyBytes(Kernel &k, const Step &step, const Tile &tile,
                     mlir::ValueRange sums) const;
  /// Activations of columns [half, half + 1) / 2 of the step: right operands of
  /// consecutive products.
  llvm::SmallVector<mlir::Value> loadRows(Kernel &k, mlir::Value rows,
                                          mlir::Value firstRow,
                                          int64_t half) const;
  Sums multiplyFloat8(Kernel &k, const Step &step, const Tile &tile,
                      mlir::ValueRange sums) const;
  llvm::SmallVector<mlir::Value> loadBlock(Kernel &k, mlir::Value panel,
                                           int64_t block) const;
  llvm::SmallVector<mlir::Value> loadScales(Kernel &k, mlir::Value panel,
                                            int64_t block) const;
  llvm::SmallVector<mlir::Value> loadSteps(Kernel &k, mlir::Value panel,
                                           int64_t block) const;
  int64_t groupOffset(int64_t block) const;

  r1::EncodingAttr encoding;
  bool integer;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_PANELFRAGMENTS_H
