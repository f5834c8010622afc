//===- LinearEpilogue.cpp - What follows a product in its kernel ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/LinearEpilogue.h"

#include "codegen/gpu/RowOps.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

LinearEpilogue::LinearEpilogue(Kernel &k, r1::LinearOp linear)
    : k(k), product(linear.getResult()) {
  for (Operation &op : k.region.getBody().front().without_terminator())
    if (linear->isBeforeInBlock(&op))
      ops.push_back(&op);
}

LogicalResult LinearEpilogue::verify(r1::RegionOp region) {
  for (auto split : region.getBody().getOps<r1::SplitOp>())
    if (std::optional<uint64_t> block = split.getBlock();
        block && static_cast<int64_t>(*block * split.getNumResults()) !=
                     region.getPartition()->getGranule())
      return split.emitOpError("blocks of ")
             << *block << " features do not make up the unit of "
             << region.getPartition()->getGranule();
  return success();
}

void LinearEpilogue::emit(Value row, Value sums, Value first, int64_t count) {
  Known known{product, sums, first, count};
  storeResult(known, row);
  emitOps(ops, {known}, row, /*localsOnly=*/false);
}

void LinearEpilogue::emit(const Tile &tile, int64_t allUnits,
                          int64_t unitFeatures) {
  k.asWarps([&] {
    k.loop(k.warp, tile.rows, kWarps, [&](Value t) {
      k.loop(k.i64(0), k.i64(tile.units), 1, [&](Value u) {
        Value unit = k.add(tile.firstUnit, u);
        k.ifThen(k.less(unit, k.i64(allUnits)), [&] {
          Value own = k.at(tile.sums, k.add(k.mul(t, tile.stride),
                                            k.mul(u, unitFeatures * 4)));
          emit(k.add(tile.firstRow, t), own, k.mul(unit, unitFeatures),
               unitFeatures);
        });
      });
    });
  });
}

void LinearEpilogue::storeResult(const Known &known, Value row) {
  if (!llvm::is_contained(
          k.region.getBody().front().getTerminator()->getOperands(),
          known.value))
    return;
  const Rows &rows = k.rows(known.value);
  Value out = k.rowPtr(rows, row);
  k.forEach(known.count, [&](Value i) {
    Value feature = k.add(known.first, i);
    k.ifThen(k.less(feature, k.i64(rows.features)), [&] {
      k.storeFromF32(k.load(k.f32Type(), k.at(known.ptr, k.mul(i, 4)), 4),
                     rows.element,
                     k.at(out, k.mul(feature, k.bytesOf(rows.element))));
    });
  });
}

/// What the split gives of the unit at `from`. Blocks of all results are here;
/// of consecutive results, the unit belongs to one.
void LinearEpilogue::emitSplit(r1::SplitOp split, Known from,
                               ArrayRef<Operation *> rest,
                               SmallVectorImpl<Known> &known, Value row) {
  if (std::optional<uint64_t> block = split.getBlock()) {
    int64_t bytes = *block * 4;
    for (auto [n, result] : llvm::enumerate(split.getResults()))
      known.push_back({result, k.at(from.ptr, n * bytes),
                       k.div(from.first, split.getNumResults()),
                       static_cast<int64_t>(*block)});
    return;
  }
  int64_t begin = 0;
  for (Value result : split.getResults()) {
    int64_t end =
        begin + cast<RankedTensorType>(result.getType()).getDimSize(1);
    Value inside = k.both(k.less(k.i64(begin - 1), from.first),
                          k.less(from.first, k.i64(end)));
    k.ifThen(inside, [&] {
      Known part{result, from.ptr, k.sub(from.first, k.i64(begin)), from.count};
      storeResult(part, row);
      emitOps(rest, {part}, row, /*localsOnly=*/true);
    });
    begin = end;
  }
}

void LinearEpilogue::emitOps(ArrayRef<Operation *> ops,
                             SmallVector<Known> known, Value row,
                             bool localsOnly) {
  while (!ops.empty()) {
    Operation *op = ops.front();
    ops = ops.drop_front();
    auto used = llvm::find_if(known, [&](const Known &entry) {
      return llvm::is_contained(op->getOperands(), entry.value);
    });
    if (used == known.end())
      continue;
    Known place = *used;
    if (auto split = dyn_cast<r1::SplitOp>(op)) {
      emitSplit(split, place, ops, known, row);
      if (!split.getBlock())
        return;
      continue;
    }
    if (auto cast = dyn_cast<r1::CastOp>(op)) {
      // Rounded where it is stored.
      known.push_back({cast.getResult(), place.ptr, place.first, place.count});
      storeResult(known.back(), row);
      continue;
    }
    RowSlice slice;
    slice.row = row;
    slice.features = place.count;
    slice.first = place.first;
    slice.localsOnly = localsOnly;
    for (const Known &entry : known)
      slice.locals[entry.value] = entry.ptr;
    // Results take the place of an operand that nothing else wants.
    if (!place.value.hasOneUse())
      place.ptr = k.allocateShared(place.count * 4);
    for (Value result : op->getResults())
      slice.locals[result] = place.ptr;
    emitRowOp(k, op, slice);
    k.barrier();
    for (Value result : op->getResults()) {
      known.push_back({result, place.ptr, place.first, place.count});
      storeResult(known.back(), row);
    }
  }
}
