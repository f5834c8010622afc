//===- LowerRegions.h - Regions to kernels ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_LOWERREGIONS_H
#define SPUTNIK_CODEGEN_GPU_LOWERREGIONS_H

#include "codegen/cpu/Work.h"
#include "dialect/R1.h"

namespace sputnik::gpu {

/// One launch of a kernel: a grid of `blocks` by tiles of rows, whose blocks
/// have `threads` threads.
struct Launch {
  std::string kernel;
  int64_t blocks;
  int64_t threads;
  int64_t rowTile;
  bool perOutput; ///< The rows wanted as outputs, not all.
  int64_t sharedBytes;
  int64_t layer;  ///< -1: in none.
  int64_t number; ///< Index into PhasePlan::kernels.
};

/// The launches of a phase, in order. Each waits for the one before.
struct PhasePlan {
  std::string name; ///< The phase's function.
  r1::PhaseAttr phase;
  std::vector<Launch> launches;
  /// See kCounters, which must be zero before the first step of any phase. All
  /// phases may use one arena.
  int64_t arenaBytes;
  /// Of the arena, what the memory plan takes.
  int64_t activationBytes;
  /// Features of the rows wanted as outputs.
  int64_t vocabulary;
  /// What each kernel does, in the order of the code.
  std::vector<cpu::RegionWork> kernels;
};

/// Emits a kernel for each region of the functions of `module` that carry
/// r1.phase, as func, scf, arith, math, llvm and nvvm ops, into `code`, for
/// `target`. Every graph op must be in a region with partition and buffers.
/// Fails with a diagnostic on what no kernel understands.
mlir::FailureOr<std::vector<PhasePlan>>
emitKernels(mlir::ModuleOp module, mlir::ModuleOp code, r1::TargetAttr target);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_LOWERREGIONS_H
