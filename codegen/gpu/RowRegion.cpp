//===- RowRegion.cpp - Chains of ops on each row by itself ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Region.h"
#include "codegen/gpu/RowOps.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

FailureOr<Grid> sputnik::gpu::emitRowRegion(Kernel &k) {
  // A block takes one row through all ops. What stays inside the region lies in
  // shared memory.
  RowSlice slice;
  slice.row = k.rowTile;
  for (Operation &op : k.region.getBody().front().without_terminator()) {
    Value shaped = op.getNumResults() ? op.getResult(0) : Value();
    if (auto append = dyn_cast<r1::KVAppendOp>(op))
      shaped = append.getKeys() ? append.getKeys() : append.getValues();
    if (auto append = dyn_cast<r1::LatentAppendOp>(op))
      shaped = append.getLatent();
    slice.features = cast<RankedTensorType>(shaped.getType()).getDimSize(1);
    if (isa<r1::SplitOp>(op))
      slice.features =
          cast<RankedTensorType>(op.getOperand(0).getType()).getDimSize(1);
    for (Value result : op.getResults())
      if (!k.hasRows(result))
        slice.locals[result] = k.allocateShared(
            r1::getRowBytes(cast<RankedTensorType>(result.getType())));
    emitRowOp(k, &op, slice);
    k.barrier();
  }
  return Grid{};
}
