//===- Region.h - Kernels of regions ----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_REGION_H
#define SPUTNIK_CODEGEN_GPU_REGION_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// How many blocks a kernel needs.
struct Grid {
  int64_t blocks = 1;  ///< For each tile of rows.
  int64_t rowTile = 1; ///< Rows that a block works on.
};

/// The kernels of regions, by the op that they are built around. The function
/// is begun and is finished by the caller. Fail with a diagnostic where the
/// chip's shared memory does not do.
mlir::FailureOr<Grid> emitRowRegion(Kernel &kernel);
mlir::FailureOr<Grid> emitLinear(Kernel &kernel, r1::LinearOp linear);
mlir::FailureOr<Grid> emitAttention(Kernel &kernel, r1::AttentionOp attention);

/// Blocks that share one piece of work so that `pieces` of them fill the chip:
/// at least 1, at most `most`.
int64_t chooseSplits(r1::TargetAttr target, int64_t pieces, int64_t most);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_REGION_H
