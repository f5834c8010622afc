//===- ByteRows.h - Values rounded to 8 bits --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_BYTEROWS_H
#define SPUTNIK_CODEGEN_GPU_BYTEROWS_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// What values of magnitudes up to `peak` are multiplied with to be bytes, and
/// bytes with to be values.
std::pair<mlir::Value, mlir::Value> byteScale(Kernel &k, mlir::Value peak);
/// A value as a byte, in an i32 with its sign.
mlir::Value toByte(Kernel &k, mlir::Value x, mlir::Value inverse);

/// How blocks of values are rounded: where they come from, and go to.
struct ByteBlocks {
  int64_t count;    ///< Blocks.
  int64_t features; ///< Of a block.
  /// f32 feature of a block.
  llvm::function_ref<mlir::Value(mlir::Value block, mlir::Value feature)> load;
  /// Takes it as an i8.
  llvm::function_ref<void(mlir::Value block, mlir::Value feature,
                          mlir::Value byte)>
      store;
  /// Takes the block's scale; called by one thread.
  llvm::function_ref<void(mlir::Value block, mlir::Value scale)> storeScale;
};
/// Warps of the team share out the blocks.
void roundBlocks(Kernel &k, const ByteBlocks &blocks);

/// The four signed bytes of a word as floats.
llvm::SmallVector<mlir::Value> bytesToFloats(Kernel &k, mlir::Value word);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_BYTEROWS_H
