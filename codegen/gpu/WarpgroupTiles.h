//===- WarpgroupTiles.h - Products of tiles by warpgroups -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_WARPGROUPTILES_H
#define SPUTNIK_CODEGEN_GPU_WARPGROUPTILES_H

#include "codegen/gpu/WarpgroupRing.h"
#include "codegen/gpu/WarpgroupWeights.h"

#include <optional>

namespace sputnik::gpu {

/// The products of panels of a packed weight with rows of bf16, tile by tile,
/// on sm_90a: one block's work. Two warpgroups multiply, and a third one brings
/// steps of both operands' columns to shared memory: panels by bulk copies, as
/// they lie in the image; rows in pieces of 16 bytes, with the swizzle of 128
/// bytes. Both sides meet in barriers in shared memory: a place for a step is
/// full, or empty. Steps of the next tile come while the sums of one go through
/// what follows the product.
class WarpgroupTiles {
public:
  /// Panels and rows of a tile; rows are a multiple of 16.
  struct Shape {
    int64_t panels, rows;
  };
  /// Most rows of a tile, from which a thread has 128 sums.
  static int64_t getMostRows(int64_t panels);
  /// What bringing and making ready a step of weights costs beside products
  /// with rows, in rows.
  static int64_t getStepCost(r1::EncodingAttr encoding);

  /// `reserved` bytes of shared memory are left to what follows the products.
  WarpgroupTiles(Kernel &k, r1::EncodingAttr encoding, int64_t columns,
                 const Shape &shape, int64_t reserved);
  /// Whether a block's shared memory does.
  bool fits() const { return stages >= 2; }

  /// Where the operands of a tile lie.
  struct Tile {
    mlir::Value weight;     ///< Address of panel 0.
    mlir::Value firstPanel; ///< Of the tile.
    mlir::Value firstRow;   ///< Of the tile.
    mlir::Value rows;       ///< That there are from there on, at least 1.
  };
  using TileBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      const Tile &, mlir::ValueRange)>;
  /// Rows of the tile whose f32 sums lie in shared memory: [rows][features],
  /// getSumStride() bytes apart.
  struct Piece {
    mlir::Value firstRow, rows, sums;
  };
  struct Work {
    /// Panels of a weight; those of a tile beyond them have no sums.
    int64_t panels;
    /// Calls the body for each tile of this block in turn, with what it
    /// carries.
    llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ValueRange carried,
                                                      TileBody)>
        forTiles;
    /// Address of a row.
    llvm::function_ref<mlir::Value(mlir::Value row)> rowAt;
    /// What is added to the sums of a row of a panel; may be null.
    llvm::function_ref<mlir::Value(mlir::Value panel, mlir::Value row)>
        offsetOf;
    /// What follows the product, by all but the helpers.
    llvm::function_ref<void(const Tile &, const Piece &)> finish;
  };
  /// The kernel's body; nothing may have been allocated in shared memory.
  void emit(const Work &work);
  int64_t getSumStride() const { return sumStride; }

private:
  using Place = WarpgroupRing::Place;
  mlir::Value panelsAt(mlir::Value place);

  void emitCopies(const Work &work);
  void copyPanels(const Work &work, const Tile &tile, mlir::Value step,
                  mlir::Value place);
  void copyRows(const Work &work, const Tile &tile, mlir::Value step,
                mlir::Value place);
  void clearTail(mlir::Value step, mlir::Value place);
  void emitProducts(const Work &work);
  llvm::SmallVector<mlir::Value>
  multiplyStep(mlir::Value step, mlir::Value place, mlir::ValueRange rowScales,
               mlir::ValueRange sumsBefore);
  mlir::Value panelAt(const Work &work, const Tile &tile, mlir::Value panel);
  void emitPieces(const Work &work, const Tile &tile, mlir::ValueRange found);
  void storePiece(int64_t piece, mlir::ValueRange found,
                  mlir::ValueRange offsets);

  Kernel &k;
  WarpgroupWeights weights;
  int64_t columns, panelBytes, steps;
  Shape shape;
  int64_t groups, pieceRows;
  int64_t stages, stageBytes, sumStride;
  /// Steps whose copies of rows a thread has under way when it waits for those
  /// of the one before.
  int64_t ahead;

  std::optional<WarpgroupRing> ring; ///< A step's rows and panels in each place.
  mlir::Value sums;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_WARPGROUPTILES_H
