//===- LowerPhases.h - Regions to code --------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_LOWERPHASES_H
#define SPUTNIK_CODEGEN_CPU_LOWERPHASES_H

#include "dialect/R1.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"

namespace sputnik::cpu {

/// What the model descriptor says of one emitted phase.
struct EmittedPhase {
  std::string name;   ///< Of the function in the module.
  std::string symbol; ///< The abi::PhaseFunction.
  int64_t maxRows;
  int64_t arenaBytes;
  int64_t scratchBytes;
  llvm::SmallVector<r1::RegionOp> regions; ///< In the order of the code.
};

/// Emits, for each function of `module` that carries r1.phase, a function
/// `sputnik_<phase>(step, thread, threads)` of scf, arith, vector and llvm ops
/// into `code`. Every graph op must be in a region with partition and buffers.
/// Fails with a diagnostic on an op or encoding that no kernel understands.
/// With `profile` the code notes the time of each region under its index among
/// those of all phases.
mlir::FailureOr<llvm::SmallVector<EmittedPhase>>
emitPhases(mlir::ModuleOp module, mlir::ModuleOp code, int64_t optLevel,
           bool profile);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_LOWERPHASES_H
