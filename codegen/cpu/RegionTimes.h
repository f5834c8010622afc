//===- RegionTimes.h - Code that notes when regions ran ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_REGIONTIMES_H
#define SPUTNIK_CODEGEN_CPU_REGIONTIMES_H

#include "codegen/cpu/Phase.h"

namespace sputnik::cpu {

/// Emits the functions that profiled code calls at the borders of regions.
void emitRegionTimes(mlir::OpBuilder &builder, mlir::Location loc);

/// Address of this thread's abi::ThreadProfile, null if the step has none.
mlir::Value emitThreadProfile(Phase &phase, mlir::Value step);

/// The time now, when a region begins.
mlir::Value emitRegionBegin(Phase &phase);

/// Notes in `profile` that a region ran from `begin` until now: the one at
/// index `region` of abi::Model::regions, in `layer`, or null outside layers.
void emitRegionEnd(Phase &phase, mlir::Value profile, mlir::Value begin,
                   int64_t region, mlir::Value layer);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_REGIONTIMES_H
