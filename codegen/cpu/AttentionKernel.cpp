//===- AttentionKernel.cpp - Attention over the cache ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One thread handles one row and one KV head at a time; the query heads of the
// group are rows of two small products, so that each key and value is loaded
// once for all of them. Positions come in blocks; softmax is online, with block
// borders fixed by position: a row's result does not depend on what else is in
// the step.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/Phase.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

#include <limits>
#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

constexpr int64_t kPanel = r1::KVCacheType::kPanel;
constexpr int64_t kBlock = 64;

struct AttentionKernel {
  AttentionKernel(Phase &p, r1::AttentionOp op) : p(p), op(op) {}

  Phase &p;
  r1::AttentionOp op;
  r1::KVCacheType cache = op.getCache().getType();
  int64_t dim = cache.getDim();
  int64_t group = cast<RankedTensorType>(op.getType()).getDimSize(1) /
                  (cache.getHeads() * dim);
  Type element = cache.getElement();
  int64_t elementBytes = Emit::bytesOf(element);

  // This thread's scratch: probabilities [group][kBlock], weighted values
  // [group][dim], running maximum and sum [group].
  Value probabilities, accumulator, maxima, totals;

  Value query, keys, values, length;

  int64_t registersPerVector() {
    return std::max<int64_t>(1, 512 / p.target.getVectorBits());
  }
  Value headPtr(Value base, int64_t g, int64_t stride) {
    return p.at(base, g * stride);
  }

  /// probabilities[g][i] = scaled score of position block + i, -inf behind the
  /// last; gives the maximum of each head.
  void emitScores(Value block, Value panels, Value biggest) {
    int64_t together = std::max<int64_t>(1, 4 / group);
    SmallVector<int32_t> lanes(kPanel);
    std::iota(lanes.begin(), lanes.end(), 0);
    Type words = p.vecType(kPanel, p.b.getI32Type());
    Value lane = arith::ConstantOp::create(
        p.b, p.loc,
        DenseElementsAttr::get(cast<VectorType>(words), ArrayRef(lanes)));
    Value minusInfinity =
        p.splat(p.f32Vec(kPanel), -std::numeric_limits<double>::infinity());
    for (int64_t g = 0; g < group; ++g)
      p.store(minusInfinity, p.at(biggest, g * 64), 4);
    p.loop(p.i64(0), panels, together, [&](Value panel) {
      Value position = p.add(block, p.mul(panel, kPanel));
      Value from = p.at(keys, p.mul(position, dim * elementBytes));
      SmallVector<Value> sums(together * group,
                              p.splat(p.f32Vec(kPanel), 0.0));
      sums = p.loop(
          p.i64(0), p.i64(dim), 1, sums,
          [&](Value d, ValueRange carried) {
            SmallVector<Value> next(carried.begin(), carried.end());
            SmallVector<Value> q;
            for (int64_t g = 0; g < group; ++g)
              q.push_back(p.broadcast(
                  p.load(p.f32Type(),
                         p.at(headPtr(query, g, dim * 4), p.mul(d, 4)), 4),
                  kPanel));
            for (int64_t i = 0; i < together; ++i) {
              Value offset = p.add(p.mul(d, kPanel), i * kPanel * dim);
              Value k = p.loadAsF32(
                  element, p.at(from, p.mul(offset, elementBytes)), kPanel);
              for (int64_t g = 0; g < group; ++g)
                next[i * group + g] = p.fma(k, q[g], next[i * group + g]);
            }
            return next;
          });
      Value scale =
          p.splat(p.f32Vec(kPanel), op.getScale().convertToDouble());
      for (int64_t i = 0; i < together; ++i) {
        Value first = p.add(position, i * kPanel);
        Value left = arith::TruncIOp::create(p.b, p.loc, p.b.getI32Type(),
                                             p.sub(length, first));
        Value inside =
            arith::CmpIOp::create(p.b, p.loc, arith::CmpIPredicate::slt, lane,
                                  p.broadcast(left, kPanel));
        for (int64_t g = 0; g < group; ++g) {
          Value score = arith::SelectOp::create(
              p.b, p.loc, inside, p.mulf(sums[i * group + g], scale),
              minusInfinity);
          Value at = p.mul(p.add(panel, i), kPanel * 4);
          p.store(score, p.at(headPtr(probabilities, g, kBlock * 4), at), 4);
          Value peak = p.at(biggest, g * 64);
          p.store(p.maxf(score, p.load(p.f32Vec(kPanel), peak, 4)), peak, 4);
        }
      }
    });
  }

  /// Turns scores into probabilities relative to the new maximum and rescales
  /// what was gathered so far.
  void emitSoftmax(Value panels, Value biggest) {
    int64_t lanes = std::gcd(dim, kPanel);
    p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
      Value maxAt = p.at(maxima, p.mul(g, 4)), sumAt = p.at(totals, p.mul(g, 4));
      Value before = p.load(p.f32Type(), maxAt, 4);
      Value peak = p.reduceMax(
          p.load(p.f32Vec(kPanel), p.at(biggest, p.mul(g, 64)), 4));
      Value now = p.maxf(before, peak);
      Value fade = p.exp(p.subf(before, now));
      Value shift = p.broadcast(now, kPanel);
      Value row = p.at(probabilities, p.mul(g, kBlock * 4));
      Value sum = p.loop(
          p.i64(0), panels, 1, {p.splat(p.f32Vec(kPanel), 0.0)},
          [&](Value panel, ValueRange sums) -> SmallVector<Value> {
            Value at = p.at(row, p.mul(panel, kPanel * 4));
            Value e = p.exp(p.subf(p.load(p.f32Vec(kPanel), at, 4), shift));
            p.store(e, at, 4);
            return {p.addf(sums[0], e)};
          })[0];
      Value total = p.fma(p.load(p.f32Type(), sumAt, 4), fade,
                          p.reduceAdd(sum));
      p.store(total, sumAt, 4);
      p.store(now, maxAt, 4);
      Value fades = p.broadcast(fade, lanes);
      Value gathered = p.at(accumulator, p.mul(g, dim * 4));
      p.loop(p.i64(0), p.i64(dim), lanes, [&](Value d) {
        Value at = p.at(gathered, p.mul(d, 4));
        Value old = p.loadAsF32(p.f32Type(), at, lanes);
        p.storeFromF32(p.mulf(old, fades), p.f32Type(), at);
      });
    });
  }

  /// accumulator[g] += sum over the block of probability * value.
  void emitWeightedValues(Value block, Value count) {
    int64_t lanes = std::gcd(dim, kPanel), vectors = dim / lanes;
    int64_t budget = p.target.getVectorRegisters() * 3 / 4 /
                     registersPerVector() / group;
    int64_t together = std::clamp<int64_t>(budget, 1, vectors);
    auto chunk = [&](Value d, int64_t width) {
      SmallVector<Value> sums;
      auto at = [&](int64_t g, int64_t i) {
        return p.at(headPtr(accumulator, g, dim * 4),
                    p.mul(p.add(d, i * lanes), 4));
      };
      for (int64_t g = 0; g < group; ++g)
        for (int64_t i = 0; i < width; ++i)
          sums.push_back(p.loadAsF32(p.f32Type(), at(g, i), lanes));
      sums = p.loop(
          p.i64(0), count, 1, sums, [&](Value position, ValueRange carried) {
            SmallVector<Value> next(carried.begin(), carried.end());
            Value row = p.mul(p.add(block, position), dim);
            SmallVector<Value> v;
            for (int64_t i = 0; i < width; ++i)
              v.push_back(p.loadAsF32(
                  element,
                  p.at(values, p.mul(p.add(row, p.add(d, i * lanes)),
                                     elementBytes)),
                  lanes));
            for (int64_t g = 0; g < group; ++g) {
              Value weight = p.broadcast(
                  p.load(p.f32Type(),
                         p.at(headPtr(probabilities, g, kBlock * 4),
                              p.mul(position, 4)),
                         4),
                  lanes);
              for (int64_t i = 0; i < width; ++i)
                next[g * width + i] =
                    p.fma(v[i], weight, next[g * width + i]);
            }
            return next;
          });
      for (int64_t g = 0; g < group; ++g)
        for (int64_t i = 0; i < width; ++i)
          p.storeFromF32(sums[g * width + i], p.f32Type(), at(g, i));
    };
    int64_t whole = vectors / together * together;
    p.loop(p.i64(0), p.i64(whole * lanes), together * lanes,
           [&](Value d) { chunk(d, together); });
    if (whole < vectors)
      chunk(p.i64(whole * lanes), vectors - whole);
  }

  void emitRow(Value row, Value head, const Rows &in, const Rows &out) {
    Value slot = p.index(op.getSlots(), row);
    length = p.add(p.index(op.getPositions(), row), 1);
    keys = cacheHeadPtr(p, cache, slot, op.getLayer(), head);
    values = p.at(keys, cache.getHeadBytes());
    Value first = p.mul(head, group * dim);
    query = p.at(p.rowPtr(in, row), p.mul(first, 4));

    int64_t mark = p.scratchMark();
    probabilities = p.allocateScratch(group * kBlock * 4);
    accumulator = p.allocateScratch(group * dim * 4);
    maxima = p.allocateScratch(group * 4);
    totals = p.allocateScratch(group * 4);
    Value biggest = p.allocateScratch(group * 64);

    p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
      p.store(p.f32(-std::numeric_limits<float>::max()),
              p.at(maxima, p.mul(g, 4)), 4);
      p.store(p.f32(0.0f), p.at(totals, p.mul(g, 4)), 4);
    });
    p.vectorLoop(group * dim, kPanel, [&](Value i, int64_t width) {
      Type type = width == 1 ? p.f32Type() : Type(p.f32Vec(width));
      p.store(p.splat(type, 0.0), p.at(accumulator, p.mul(i, 4)), 4);
    });
    p.loop(p.i64(0), length, kBlock, [&](Value block) {
      Value count = p.min(p.i64(kBlock), p.sub(length, block));
      Value panels = p.ceilDiv(count, kPanel);
      emitScores(block, panels, biggest);
      emitSoftmax(panels, biggest);
      emitWeightedValues(block, count);
    });
    int64_t lanes = std::gcd(dim, kPanel);
    Value result = p.at(p.rowPtr(out, row),
                        p.mul(first, p.bytesOf(out.element)));
    p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
      Value total = p.load(p.f32Type(), p.at(totals, p.mul(g, 4)), 4);
      Value scale = p.broadcast(p.divf(p.f32(1.0f), total), lanes);
      Value from = p.at(accumulator, p.mul(g, dim * 4));
      Value to = p.at(result, p.mul(g, dim * p.bytesOf(out.element)));
      p.loop(p.i64(0), p.i64(dim), lanes, [&](Value d) {
        Value x = p.loadAsF32(p.f32Type(), p.at(from, p.mul(d, 4)), lanes);
        p.storeFromF32(p.mulf(x, scale), out.element,
                       p.at(to, p.mul(d, p.bytesOf(out.element))));
      });
    });
    p.restoreScratch(mark);
  }
};

/// Deals out (row, KV head) pairs to the threads in turn.
void forRowsAndHeads(Phase &p, const Rows &in, int64_t heads,
                     function_ref<void(Value, Value)> body) {
  p.loop(p.thread, p.mul(in.count, heads), p.threads, [&](Value item) {
    body(p.div(item, heads), p.rem(item, heads));
  });
}

} // namespace

void sputnik::cpu::emitAttention(Phase &p, r1::RegionOp region,
                                 r1::AttentionOp attention) {
  AttentionKernel kernel(p, attention);
  const Rows in = p.rows(attention.getQuery());
  const Rows out =
      p.rows(region.getBody().front().getTerminator()->getOperand(0));
  forRowsAndHeads(p, in, kernel.cache.getHeads(),
                  [&](Value row, Value head) {
                    kernel.emitRow(row, head, in, out);
                  });
}

void sputnik::cpu::emitPlainAttention(Phase &p, r1::RegionOp region,
                                      r1::AttentionOp op) {
  r1::KVCacheType cache = op.getCache().getType();
  Type element = cache.getElement();
  int64_t dim = cache.getDim(), bytes = p.bytesOf(element);
  const Rows in = p.rows(op.getQuery()), out = p.rows(op.getResult());
  int64_t group = in.features / (cache.getHeads() * dim);
  constexpr int64_t panel = kPanel;
  forRowsAndHeads(p, in, cache.getHeads() * group, [&](Value row, Value head) {
    Value slot = p.index(op.getSlots(), row);
    Value length = p.add(p.index(op.getPositions(), row), 1);
    Value keys = cacheHeadPtr(p, cache, slot, op.getLayer(),
                              p.div(head, group));
    Value values = p.at(keys, cache.getHeadBytes());
    Value offset = p.mul(head, dim * 4);
    Value q = p.at(p.rowPtr(in, row), offset);
    Value y = p.at(p.rowPtr(out, row), offset);
    auto score = [&](Value position) {
      Value k = p.at(keys, p.mul(p.add(p.mul(p.div(position, panel),
                                             panel * dim),
                                       p.rem(position, panel)),
                                 bytes));
      Value sum = p.loop(
          p.i64(0), p.i64(dim), 1, {p.f32(0.0f)},
          [&](Value d, ValueRange sums) -> SmallVector<Value> {
            Value a = p.load(p.f32Type(), p.at(q, p.mul(d, 4)), 4);
            Value b = p.loadAsF32(element, p.at(k, p.mul(d, panel * bytes)));
            return {p.addf(sums[0], p.mulf(a, b))};
          })[0];
      return p.mulf(sum, p.f32(op.getScale().convertToFloat()));
    };
    Value lowest = p.f32(-std::numeric_limits<float>::max());
    Value peak = p.loop(p.i64(0), length, 1, {lowest},
                        [&](Value position, ValueRange m) -> SmallVector<Value> {
                          return {p.maxf(m[0], score(position))};
                        })[0];
    p.loop(p.i64(0), p.i64(dim), 1, [&](Value d) {
      p.store(p.f32(0.0f), p.at(y, p.mul(d, 4)), 4);
    });
    Value total = p.loop(
        p.i64(0), length, 1, {p.f32(0.0f)},
        [&](Value position, ValueRange sums) -> SmallVector<Value> {
          Value e = p.exp(p.subf(score(position), peak));
          p.loop(p.i64(0), p.i64(dim), 1, [&](Value d) {
            Value v = p.loadAsF32(
                element, p.at(values, p.mul(p.add(p.mul(position, dim), d),
                                            bytes)));
            Value at = p.at(y, p.mul(d, 4));
            p.store(p.addf(p.load(p.f32Type(), at, 4), p.mulf(e, v)), at, 4);
          });
          return {p.addf(sums[0], e)};
        })[0];
    p.loop(p.i64(0), p.i64(dim), 1, [&](Value d) {
      Value at = p.at(y, p.mul(d, 4));
      p.store(p.divf(p.load(p.f32Type(), at, 4), total), at, 4);
    });
  });
}
