//===- RouteKernel.cpp - Which experts a row goes to ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Phase.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

struct RouteKernel {
  Phase &p;

  Value at(Value base, Value i) { return p.at(base, p.mul(i, 4)); }
  Value load(Value base, Value i) { return p.load(p.f32Type(), at(base, i), 4); }
  void store(Value value, Value base, Value i) {
    p.store(value, at(base, i), 4);
  }
  Value lowest() {
    return p.f32(-std::numeric_limits<float>::infinity());
  }
  Value greater(Value a, Value c) {
    return arith::CmpFOp::create(p.b, p.loc, arith::CmpFPredicate::OGT, a, c);
  }
  Value select(Value condition, Value a, Value c) {
    return arith::SelectOp::create(p.b, p.loc, condition, a, c);
  }

  /// The index of the first of the largest of `count` values, 0 if none is
  /// larger than -infinity. It is taken: -infinity replaces the value.
  Value take(Value values, int64_t count) {
    Value index = p.loop(
        p.i64(0), p.i64(count), 1, {lowest(), p.i64(0)},
        [&](Value i, ValueRange best) -> SmallVector<Value> {
          Value value = load(values, i);
          Value better = greater(value, best[0]);
          return {select(better, value, best[0]), select(better, i, best[1])};
        })[1];
    store(lowest(), values, index);
    return index;
  }

  /// The sum of the two largest of values [first, last).
  Value sumOfTwo(Value values, Value first, Value last) {
    SmallVector<Value> two =
        p.loop(first, last, 1, {lowest(), lowest()},
               [&](Value i, ValueRange best) -> SmallVector<Value> {
                 Value value = load(values, i);
                 Value better = greater(value, best[0]);
                 Value other = select(better, best[0], value);
                 return {select(better, value, best[0]),
                         p.maxf(other, best[1])};
               });
    return p.addf(two[0], two[1]);
  }

  /// Takes out of the choice what is not in the best groups.
  void keepGroups(Value choice, int64_t size, int64_t groups, int64_t keep) {
    Value scores = p.allocateScratch(groups * 4);
    Value kept = p.allocateScratch(groups * 4);
    p.loop(p.i64(0), p.i64(groups), 1, [&](Value g) {
      Value first = p.mul(g, size);
      store(sumOfTwo(choice, first, p.add(first, size)), scores, g);
      store(p.f32(0), kept, g);
    });
    p.loop(p.i64(0), p.i64(keep), 1, [&](Value) {
      store(p.f32(1), kept, take(scores, groups));
    });
    p.loop(p.i64(0), p.i64(groups), 1, [&](Value g) {
      Value first = p.mul(g, size);
      p.ifThen(greater(p.f32(1), load(kept, g)), [&] {
        p.loop(first, p.add(first, size), 1,
               [&](Value e) { store(lowest(), choice, e); });
      });
    });
  }
};

} // namespace

void sputnik::cpu::emitRoute(Phase &p, r1::RouteOp op, Value scores,
                             Value chosen, Value factors) {
  RouteKernel k{p};
  int64_t experts =
      cast<RankedTensorType>(op.getScores().getType()).getDimSize(1);
  int64_t slots =
      cast<RankedTensorType>(op.getChosen().getType()).getDimSize(1);
  int64_t groups = op.getGroups();
  Value bias = p.weightPtr(op, op.getBiasAttr(), op.getLayer());
  int64_t mark = p.scratchMark();
  Value weights = p.allocateScratch(experts * 4);
  Value choice = p.allocateScratch(experts * 4);
  Value taken = p.allocateScratch(experts * 4);

  p.vectorLoop(experts, p.lanes(), [&](Value e, int64_t width) {
    Value x = p.loadAsF32(p.f32Type(), k.at(scores, e), width);
    Value one = p.splat(x.getType(), 1), zero = p.splat(x.getType(), 0);
    Value weight = p.divf(one, p.addf(one, p.exp(p.subf(zero, x))));
    Value b = p.loadAsF32(p.f32Type(), k.at(bias, e), width);
    p.storeFromF32(weight, p.f32Type(), k.at(weights, e));
    p.storeFromF32(p.addf(weight, b), p.f32Type(), k.at(choice, e));
    p.storeFromF32(zero, p.f32Type(), k.at(taken, e));
  });
  if (static_cast<int64_t>(op.getKeep()) < groups)
    k.keepGroups(choice, experts / groups, groups, op.getKeep());

  // NaN is never taken: where there is nothing else, a slot stays with
  // expert 0.
  p.loop(p.i64(0), p.i64(slots), 1, [&](Value j) {
    p.store(p.i32(0), k.at(chosen, j), 4);
    k.store(p.f32(1), taken, k.take(choice, experts));
  });
  p.loop(p.i64(0), p.i64(experts), 1, {p.i64(0)},
         [&](Value e, ValueRange carried) -> SmallVector<Value> {
           Value next = k.greater(k.load(taken, e), p.f32(0));
           p.ifThen(next, [&] {
             Value word =
                 arith::TruncIOp::create(p.b, p.loc, p.b.getI32Type(), e);
             p.store(word, k.at(chosen, carried[0]), 4);
           });
           return {k.select(next, p.add(carried[0], 1), carried[0])};
         });

  auto weightOf = [&](Value j) {
    Value e = p.widen(p.load(p.b.getI32Type(), k.at(chosen, j), 4));
    return k.load(weights, e);
  };
  Value divisor = p.f32(1);
  if (op.getNormalize()) {
    Value sum =
        p.loop(p.i64(0), p.i64(slots), 1, {p.f32(0)},
               [&](Value j, ValueRange sums) -> SmallVector<Value> {
                 return {p.addf(sums[0], weightOf(j))};
               })[0];
    divisor = p.addf(sum, p.f32(1e-20f));
  }
  Value scale = p.f32(op.getScale().convertToFloat());
  p.loop(p.i64(0), p.i64(slots), 1, [&](Value j) {
    k.store(p.mulf(p.divf(weightOf(j), divisor), scale), factors, j);
  });
  p.restoreScratch(mark);
}
