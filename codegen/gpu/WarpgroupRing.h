//===- WarpgroupRing.h - Places that are filled and emptied -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_WARPGROUPRING_H
#define SPUTNIK_CODEGEN_GPU_WARPGROUPRING_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// One arrival of this warp at a barrier in shared memory, once all lanes are
/// there.
void arriveAsWarp(Kernel &k, mlir::Value barrier);

/// Equal places in shared memory that some warps (sm_90a) fill and others empty,
/// one after the other and again from the first. Two barriers in shared memory
/// for each say that it is full, or empty again.
class WarpgroupRing {
public:
  /// Allocates `places` of `bytes` each and makes their barriers, before whose
  /// first use the block must meet. A place is full (empty) when that many
  /// arrivals have come.
  WarpgroupRing(Kernel &k, int64_t places, int64_t bytes, int64_t fillers,
                int64_t emptiers);

  /// A place, and the parity of the phase of its barriers that is waited for.
  struct Place {
    mlir::Value index, parity;
  };
  /// The first one, for those who fill and those who empty it.
  Place firstToFill() { return {k.i64(0), k.i32(1)}; }
  Place firstToEmpty() { return {k.i64(0), k.i32(0)}; }
  Place next(const Place &place);
  /// The place `count` < places before one.
  mlir::Value before(mlir::Value index, int64_t count);

  mlir::Value at(mlir::Value index) {
    return k.at(base, k.mul(index, bytes));
  }
  mlir::Value full(mlir::Value index) { return k.barrierAt(barriers, index); }
  mlir::Value empty(mlir::Value index) {
    return k.barrierAt(barriers, k.add(index, places));
  }
  void awaitFull(const Place &place) {
    k.waitForPhase(full(place.index), place.parity);
  }
  void awaitEmpty(const Place &place) {
    k.waitForPhase(empty(place.index), place.parity);
  }
  /// One arrival of this warp: what its threads wrote to the place is there for
  /// products too; its products have read the place.
  void announceFull(mlir::Value index);
  void announceEmpty(mlir::Value index);

private:
  Kernel &k;
  int64_t places, bytes;
  mlir::Value base, barriers;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_WARPGROUPRING_H
