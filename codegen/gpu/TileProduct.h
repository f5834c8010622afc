//===- TileProduct.h - A tile of a product on the tensor cores --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_TILEPRODUCT_H
#define SPUTNIK_CODEGEN_GPU_TILEPRODUCT_H

#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/PanelFragments.h"

namespace sputnik::gpu {

/// The products of some panels of a packed weight with some activation rows,
/// which come as bf16, or as bytes with their scales: one block's work. Steps of
/// both operands' columns are copied to shared memory ahead of their use; the
/// sums end in shared memory.
class TileProduct {
public:
  /// Panels and rows of a tile. `featureWarps`, which divides both kWarps and
  /// the panels, share out the panels, the others rows, in groups of eight.
  struct Shape {
    int64_t panels, rows, featureWarps;
  };

  /// Whether there are such products of weights of `encoding` with rows of
  /// `element`.
  static bool supports(r1::EncodingAttr encoding, mlir::Type element);

  TileProduct(Kernel &k, r1::EncodingAttr encoding, int64_t columns,
              const Shape &shape);

  /// Bytes of shared memory of one step.
  static int64_t getStepBytes(r1::EncodingAttr encoding, const Shape &shape);

  /// Where the operands lie, by the number of a panel or row in the tile.
  struct Operands {
    llvm::function_ref<mlir::Value(mlir::Value)> panelAt;
    llvm::function_ref<PanelDot::Row(mlir::Value)> rowAt;
    mlir::Value rowCount; ///< Rows that there are, at least 1.
  };
  /// Gives the address of the f32 sums [rows][features], rows getSumStride()
  /// bytes apart, for all threads to read. `offsetOf`, which may be null, gives
  /// what is added to the sums of a feature of the tile.
  mlir::Value emit(const Operands &operands,
                   llvm::function_ref<mlir::Value(mlir::Value)> offsetOf = {});
  int64_t getSumStride() const;

private:
  void forPieces(int64_t count, llvm::function_ref<void(mlir::Value)> body);
  PanelFragments::Step stepAt(mlir::Value step);
  void startCopies(const Operands &operands, mlir::Value step);
  llvm::SmallVector<mlir::Value> emitSteps(const Operands &operands);
  void storeSums(const Operands &operands, mlir::ValueRange found,
                 llvm::function_ref<mlir::Value(mlir::Value)> offsetOf);

  Kernel &k;
  PanelFragments fragments;
  int64_t columns, steps, rowBytes; ///< Of a row's values.
  Shape shape;
  int64_t stages, stageBytes;
  PanelFragments::Tile tile; ///< This warp's.
  mlir::Value stage, sums;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_TILEPRODUCT_H
