//===- SortedSlots.h - Slots of rows by expert ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_SORTEDSLOTS_H
#define SPUTNIK_CODEGEN_GPU_SORTEDSLOTS_H

#include "codegen/gpu/Region.h"

namespace sputnik::gpu {

/// The slots of all rows, sorted by the expert that they chose, those of one
/// expert in the order of rows. Lies in the workspace: one kernel of a region
/// sorts, the next ones, which make theirs at the same place, read.
class SortedSlots {
public:
  /// `chosen` has an i32 expert for each slot of each row.
  SortedSlots(Kernel &k, mlir::Value chosen, int64_t experts);

  /// A block for each expert finds the expert's slots.
  Grid emitSort();

  /// Where the slots of an expert lie in the order, and how many there are.
  struct Range {
    mlir::Value first, count;
  };
  Range rangeOf(mlir::Value expert);
  /// Row and slot at a place of the order.
  struct Slot {
    mlir::Value row, slot;
  };
  Slot slotAt(mlir::Value place);

private:
  Kernel &k;
  Rows chosen;
  int64_t experts, slots;
  mlir::Value ranges; ///< [experts][2] i32.
  mlir::Value order;  ///< [rows * slots] i32: row * slots + slot.
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_SORTEDSLOTS_H
