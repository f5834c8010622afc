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
/// Brings the first weights that each block of emitLinear will read into the
/// second-level cache: what a kernel can do while the one before still runs.
void prefetchLinear(Kernel &kernel, r1::LinearOp linear);
/// Whether prefill multiplies on the tensor cores, by emitMatrixProduct.
bool isMatrixProduct(r1::PhaseAttr phase, r1::LinearOp linear);
mlir::FailureOr<Grid> emitMatrixProduct(Kernel &kernel, r1::LinearOp linear);
/// Whether it multiplies by warpgroups, by emitWarpgroupProduct.
bool isWarpgroupProduct(r1::PhaseAttr phase, r1::LinearOp linear,
                        r1::TargetAttr target);
mlir::FailureOr<Grid> emitWarpgroupProduct(Kernel &kernel,
                                           r1::LinearOp linear);
mlir::FailureOr<Grid> emitAttention(Kernel &kernel, r1::AttentionOp attention);
/// Whether prefill attends on the tensor cores, by emitFlashAttention.
bool isFlashAttention(r1::PhaseAttr phase, r1::AttentionOp attention);
mlir::FailureOr<Grid> emitFlashAttention(Kernel &kernel,
                                         r1::AttentionOp attention);
/// Whether it does so by warpgroups, by emitWarpgroupAttention.
bool isWarpgroupAttention(r1::PhaseAttr phase, r1::AttentionOp attention,
                          r1::TargetAttr target);
mlir::FailureOr<Grid> emitWarpgroupAttention(Kernel &kernel,
                                             r1::AttentionOp attention);

mlir::FailureOr<Grid> emitExpertsUp(Kernel &kernel, r1::ExpertsUpOp op);
mlir::FailureOr<Grid> emitExpertsDown(Kernel &kernel, r1::ExpertsDownOp op);

/// The kernels of experts on the tensor cores, in this order; of what goes up
/// the first two.
enum class ExpertsStage { Sort, Multiply, Combine };
/// Whether prefill multiplies so.
bool isExpertsProduct(r1::PhaseAttr phase, r1::ExpertsUpOp op,
                      r1::TargetAttr target);
bool isExpertsProduct(r1::PhaseAttr phase, r1::ExpertsDownOp op,
                      r1::TargetAttr target);
mlir::FailureOr<Grid> emitExpertsProduct(Kernel &kernel, r1::ExpertsUpOp op,
                                         ExpertsStage stage);
mlir::FailureOr<Grid> emitExpertsProduct(Kernel &kernel, r1::ExpertsDownOp op,
                                         ExpertsStage stage);

/// The kernels of latent attention, in this order.
enum class LatentStage { Absorb, Attend, Values };
mlir::FailureOr<Grid> emitLatentAttention(Kernel &kernel,
                                          r1::LatentAttentionOp op,
                                          LatentStage stage);

/// Blocks that share one piece of work so that `pieces` of them fill the chip:
/// at least 1, at most `most`.
int64_t chooseSplits(r1::TargetAttr target, int64_t pieces, int64_t most);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_REGION_H
