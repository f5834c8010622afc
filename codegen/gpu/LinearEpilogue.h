//===- LinearEpilogue.h - What follows a product in its kernel --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_LINEAREPILOGUE_H
#define SPUTNIK_CODEGEN_GPU_LINEAREPILOGUE_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// The ops after the linear of a region. They run on the product's sums in
/// shared memory, row by row and unit by unit: a unit is the partition's
/// granule, the features that belong together.
class LinearEpilogue {
public:
  LinearEpilogue(Kernel &k, r1::LinearOp linear);

  /// Fails with a diagnostic where an op needs more than a unit.
  static mlir::LogicalResult verify(r1::RegionOp region);

  /// Emits all ops for `count` features of row `row`, those from `first` on,
  /// whose f32 sums lie at `sums`. The team works on them together; its writes
  /// to `sums` come before.
  void emit(mlir::Value row, mlir::Value sums, mlir::Value first,
            int64_t count);

  /// The same for each row of a tile of a matrix product, which the warps share
  /// out, and for each unit of its features that exists. The tile's sums have
  /// rows `stride` bytes apart.
  struct Tile {
    mlir::Value sums, firstRow, rows;
    int64_t stride;
    mlir::Value firstUnit;
    int64_t units;
  };
  void emit(const Tile &tile, int64_t allUnits, int64_t unitFeatures);

private:
  /// Features of a value in shared memory.
  struct Known {
    mlir::Value value, ptr, first;
    int64_t count;
  };
  /// Writes what is known of a value to its rows, if it has any.
  void storeResult(const Known &known, mlir::Value row);
  void emitSplit(r1::SplitOp split, Known from,
                 llvm::ArrayRef<mlir::Operation *> rest,
                 llvm::SmallVectorImpl<Known> &known, mlir::Value row);
  void emitOps(llvm::ArrayRef<mlir::Operation *> ops,
               llvm::SmallVector<Known> known, mlir::Value row,
               bool localsOnly);

  Kernel &k;
  mlir::Value product;
  llvm::SmallVector<mlir::Operation *> ops;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_LINEAREPILOGUE_H
