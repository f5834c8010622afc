//===- SortedSlots.cpp - Slots of rows by expert --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/SortedSlots.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

SortedSlots::SortedSlots(Kernel &k, Value chosen, int64_t experts)
    : k(k), chosen(k.rows(chosen)), experts(experts),
      slots(this->chosen.features), ranges(k.allocateWorkspace(experts * 8)),
      order(k.allocateWorkspace(k.phase.getMaxRows() * slots * 4)) {}

/// Slots of lower experts come before this one's: a block counts both, and
/// needs to know nothing of the others. A thread has consecutive slots.
Grid SortedSlots::emitSort() {
  Type i32Type = k.b.getI32Type();
  auto narrow = [&](Value i) -> Value {
    return arith::TruncIOp::create(k.b, k.loc, i32Type, i);
  };
  auto plusOneIf = [&](Value condition, Value count) {
    return k.select(condition, k.add(count, 1), count);
  };
  Value count = k.mul(chosen.count, slots);
  Value begin = k.div(k.mul(k.thread, count), kThreads);
  Value end = k.div(k.mul(k.add(k.thread, 1), count), kThreads);
  auto forOwn = [&](ValueRange start, Kernel::CarryBody body) {
    return k.loop(begin, end, 1, start, [&](Value i, ValueRange carried) {
      Value row = k.rowPtr(chosen, k.div(i, slots));
      SmallVector<Value> values = {
          k.widen(k.load(i32Type, k.at(row, k.mul(k.rem(i, slots), 4)), 4))};
      llvm::append_range(values, carried);
      return body(i, values);
    });
  };
  SmallVector<Value> own = forOwn(
      {k.i64(0), k.i64(0)},
      [&](Value, ValueRange values) -> SmallVector<Value> {
        return {plusOneIf(k.less(values[0], k.block), values[1]),
                plusOneIf(k.equal(values[0], k.block), values[2])};
      });
  Kernel::Scan lower = k.teamScan(narrow(own[0]));
  Kernel::Scan equal = k.teamScan(narrow(own[1]));
  Value first = k.widen(lower.total);
  k.ifThen(k.equal(k.thread, k.i64(0)), [&] {
    Value range = k.at(ranges, k.mul(k.block, 8));
    k.store(lower.total, range, 4);
    k.store(equal.total, k.at(range, 4), 4);
  });
  forOwn({k.add(first, k.widen(equal.before))},
         [&](Value i, ValueRange values) -> SmallVector<Value> {
           Value mine = k.equal(values[0], k.block), place = values[1];
           k.ifThen(mine, [&] {
             k.store(narrow(i), k.at(order, k.mul(place, 4)), 4);
           });
           return {plusOneIf(mine, place)};
         });
  return {experts, k.phase.getMaxRows()};
}

SortedSlots::Range SortedSlots::rangeOf(Value expert) {
  Value range = k.at(ranges, k.mul(expert, 8));
  return {k.widen(k.load(k.b.getI32Type(), range, 4)),
          k.widen(k.load(k.b.getI32Type(), k.at(range, 4), 4))};
}

SortedSlots::Slot SortedSlots::slotAt(Value place) {
  Value index =
      k.widen(k.load(k.b.getI32Type(), k.at(order, k.mul(place, 4)), 4));
  return {k.div(index, slots), k.rem(index, slots)};
}
