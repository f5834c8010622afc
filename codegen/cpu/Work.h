//===- Work.h - What code reads and computes --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_WORK_H
#define SPUTNIK_CODEGEN_CPU_WORK_H

#include "dialect/R1.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace sputnik::cpu {

/// What one decode step reads and computes with weights.
struct Traffic {
  uint64_t bytes = 0, macs = 0, headMacs = 0;
};

/// Counts over the decode phase; every weight is read once a step, the
/// embedding only where the head shares it.
Traffic countTraffic(mlir::func::FuncOp decode);

/// What becomes an abi::Region: what one run of a region, or of a kernel that
/// does a part of it, reads and computes.
struct RegionWork {
  std::string name, phase;
  uint64_t weightBytes = 0, macs = 0;
  uint64_t positionBytes = 0, positionMacs = 0;
  bool perOutput = false;
};

/// Counts what a region does with the weights that `reads` and, if
/// `readsCache`, with the cache.
RegionWork
countWork(r1::RegionOp region, llvm::StringRef phase,
          llvm::function_ref<bool(mlir::Operation *weight)> reads,
          bool readsCache);
/// Counts all that a region does.
RegionWork countWork(r1::RegionOp region, llvm::StringRef phase);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_WORK_H
