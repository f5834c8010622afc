//===- RouteKernel.cpp - Which experts a row goes to ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// All threads form scores. Then the first warp chooses: its lanes look at the
// candidates together, and agree on the best one at a time.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/RowOps.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// What one warp does. Values are f32 in shared memory.
struct RouteWarp {
  Kernel &k;

  Value at(Value base, Value i) { return k.at(base, k.mul(i, 4)); }
  Value load(Value base, Value i) {
    return k.load(k.f32Type(), at(base, i), 4);
  }
  void store(Value value, Value base, Value i) {
    k.store(value, at(base, i), 4);
  }
  Value lowest() { return k.f32(-std::numeric_limits<float>::infinity()); }
  Value compare(arith::CmpFPredicate predicate, Value a, Value c) {
    return arith::CmpFOp::create(k.b, k.loc, predicate, a, c);
  }
  void byFirstLane(function_ref<void()> body) {
    k.ifThen(k.equal(k.lane, k.i64(0)), body);
    k.warpBarrier();
  }
  void forLanes(int64_t count, Kernel::Body body) {
    k.loop(k.lane, k.i64(count), kWarp, body);
    k.warpBarrier();
  }

  /// The i32 index of the first of the largest of `count` values, 0 if none is
  /// larger than -infinity. It is taken: -infinity replaces the value.
  Value take(Value values, int64_t count) {
    Type i32Type = k.b.getI32Type();
    SmallVector<Value> best =
        k.loop(k.lane, k.i64(count), kWarp, {lowest(), k.i32(0)},
               [&](Value i, ValueRange best) -> SmallVector<Value> {
                 Value value = load(values, i);
                 Value better =
                     compare(arith::CmpFPredicate::OGT, value, best[0]);
                 Value index = arith::TruncIOp::create(k.b, k.loc, i32Type, i);
                 return {k.select(better, value, best[0]),
                         k.select(better, index, best[1])};
               });
    for (int64_t mask = 1; mask < kWarp; mask *= 2) {
      Value value = k.shuffleXor(best[0], mask);
      Value index = k.shuffleXor(best[1], mask);
      Value lower = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ult,
                                          index, best[1]);
      Value better = arith::OrIOp::create(
          k.b, k.loc, compare(arith::CmpFPredicate::OGT, value, best[0]),
          k.both(compare(arith::CmpFPredicate::OEQ, value, best[0]), lower));
      best = {k.select(better, value, best[0]),
              k.select(better, index, best[1])};
    }
    byFirstLane([&] { store(lowest(), values, k.widen(best[1])); });
    return best[1];
  }

  /// The sum of the two largest of values [first, first + count).
  Value sumOfTwo(Value values, Value first, int64_t count) {
    SmallVector<Value> two = k.loop(
        k.i64(0), k.i64(count), 1, {lowest(), lowest()},
        [&](Value i, ValueRange best) -> SmallVector<Value> {
          Value value = load(values, k.add(first, i));
          Value better = compare(arith::CmpFPredicate::OGT, value, best[0]);
          Value other = k.select(better, best[0], value);
          return {k.select(better, value, best[0]), k.maxf(other, best[1])};
        });
    return k.addf(two[0], two[1]);
  }

  /// Takes out of the choice what is not in the best groups.
  void keepGroups(Value choice, int64_t size, int64_t groups, int64_t keep,
                  Value scores, Value kept) {
    forLanes(groups, [&](Value g) {
      store(sumOfTwo(choice, k.mul(g, size), size), scores, g);
      store(k.f32(0), kept, g);
    });
    k.loop(k.i64(0), k.i64(keep), 1, [&](Value) {
      Value best = k.widen(take(scores, groups));
      byFirstLane([&] { store(k.f32(1), kept, best); });
    });
    forLanes(groups * size, [&](Value e) {
      Value group = k.div(e, size);
      k.ifThen(compare(arith::CmpFPredicate::OLT, load(kept, group), k.f32(1)),
               [&] { store(lowest(), choice, e); });
    });
  }
};

} // namespace

void sputnik::gpu::emitRoute(Kernel &k, r1::RouteOp op, Value scores,
                             Value chosen, Value factors) {
  RouteWarp warp{k};
  int64_t experts =
      cast<RankedTensorType>(op.getScores().getType()).getDimSize(1);
  int64_t slots =
      cast<RankedTensorType>(op.getChosen().getType()).getDimSize(1);
  int64_t groups = op.getGroups(), keep = op.getKeep();
  Value bias = k.weightPtr(op, op.getBiasAttr(), op.getLayer());
  Value weights = k.allocateShared(experts * 4);
  Value choice = k.allocateShared(experts * 4);
  Value taken = k.allocateShared(experts * 4);
  Value groupScores = k.allocateShared(groups * 4);
  Value kept = k.allocateShared(groups * 4);

  k.forEach(experts, [&](Value e) {
    Value minus = k.subf(k.f32(0), warp.load(scores, e));
    Value weight = k.divf(k.f32(1), k.addf(k.f32(1), k.exp(minus)));
    warp.store(weight, weights, e);
    warp.store(k.addf(weight, warp.load(bias, e)), choice, e);
    warp.store(k.f32(0), taken, e);
  });
  k.barrier();
  k.ifThen(k.equal(k.warp, k.i64(0)), [&] {
    if (keep < groups)
      warp.keepGroups(choice, experts / groups, groups, keep, groupScores,
                      kept);
    // NaN is never taken: where there is nothing else, a slot stays with
    // expert 0.
    k.loop(k.i64(0), k.i64(slots), 1, [&](Value slot) {
      Value best = k.widen(warp.take(choice, experts));
      warp.byFirstLane([&] {
        k.store(k.i32(0), warp.at(chosen, slot), 4);
        warp.store(k.f32(1), taken, best);
      });
    });
    // In ascending order.
    warp.byFirstLane([&] {
      k.loop(k.i64(0), k.i64(experts), 1, {k.i64(0)},
             [&](Value e, ValueRange slot) -> SmallVector<Value> {
               Value next = warp.compare(arith::CmpFPredicate::OGT,
                                         warp.load(taken, e), k.f32(0));
               k.ifThen(next, [&] {
                 k.store(
                     arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), e),
                     warp.at(chosen, slot[0]), 4);
               });
               return {k.select(next, k.add(slot[0], 1), slot[0])};
             });
    });
    auto weightOf = [&](Value slot) {
      Value e = k.widen(k.load(k.b.getI32Type(), warp.at(chosen, slot), 4));
      return warp.load(weights, e);
    };
    Value divisor = k.f32(1);
    if (op.getNormalize()) {
      Value sum =
          k.loop(k.i64(0), k.i64(slots), 1, {k.f32(0)},
                 [&](Value slot, ValueRange sums) -> SmallVector<Value> {
                   return {k.addf(sums[0], weightOf(slot))};
                 })[0];
      divisor = k.addf(sum, k.f32(1e-20f));
    }
    Value scale = k.f32(op.getScale().convertToFloat());
    warp.forLanes(slots, [&](Value slot) {
      warp.store(k.mulf(k.divf(weightOf(slot), divisor), scale), factors, slot);
    });
  });
}
