//===- QueryLanes.cpp - Sixteen queries attend together -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/QueryLanes.h"

#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

QueryLanes::QueryLanes(Phase &p, int64_t keyDim, int64_t valueDim)
    : p(p), keyDim(keyDim), valueDim(valueDim),
      scores(p.allocateScratch(kBlock * kLanes * 4)),
      fades(p.allocateScratch(kLanes * 4)) {}

int64_t QueryLanes::getSumStride() const {
  return llvm::alignTo(valueDim, kLanes) * 4;
}

int64_t QueryLanes::getStateBytes() const {
  return (keyDim + 3) * kLanes * 4 + kLanes * getSumStride();
}

QueryLanes::State QueryLanes::stateAt(Value ptr) const {
  constexpr int64_t vector = kLanes * 4;
  Value rest = p.at(ptr, keyDim * vector);
  return {ptr, rest, p.at(rest, vector), p.at(rest, 2 * vector),
          p.at(rest, 3 * vector)};
}

void QueryLanes::clear(const State &state) const {
  Value zero = p.splat(p.f32Vec(kLanes), 0.0);
  p.loop(p.i64(0), p.i64(getStateBytes()), kLanes * 4,
         [&](Value i) { p.store(zero, p.at(state.queries, i), 4); });
  p.store(p.splat(p.f32Vec(kLanes), -std::numeric_limits<float>::max()),
          state.maxima, 4);
}

void QueryLanes::setQuery(const State &state, Value feature, Value lane,
                          Value value) const {
  Value index = p.add(p.mul(feature, kLanes), lane);
  p.store(value, p.at(state.queries, p.mul(index, 4)), 4);
}

void QueryLanes::setLimit(const State &state, Value lane, Value limit) const {
  p.store(arith::TruncIOp::create(p.b, p.loc, p.b.getI32Type(), limit),
          p.at(state.limits, p.mul(lane, 4)), 4);
}

int64_t QueryLanes::registersPerVector() const {
  return std::max<int64_t>(1, 512 / p.target.getVectorBits());
}

/// scores[t] = scaled scores of position first + t, -inf where a query does not
/// see it.
void QueryLanes::emitScores(const State &state, Block keys, Value first,
                            Value count) const {
  int64_t together = registersPerVector() > 1 ? 4 : 8;
  Value limits =
      p.load(p.vecType(kLanes, p.b.getI32Type()), state.limits, 4);
  Value minusInfinity =
      p.splat(p.f32Vec(kLanes), -std::numeric_limits<double>::infinity());
  p.loop(p.i64(0), count, together, [&](Value t) {
    SmallVector<Value> sums(together, p.splat(p.f32Vec(kLanes), 0.0));
    Value rows = p.at(keys.ptr, p.mul(t, keys.stride));
    sums = p.loop(p.i64(0), p.i64(keyDim), 1, sums,
                  [&](Value d, ValueRange carried) {
                    Value q = p.load(p.f32Vec(kLanes),
                                     p.at(state.queries,
                                          p.mul(d, kLanes * 4)),
                                     4);
                    Value at = p.at(rows, p.mul(d, 4));
                    SmallVector<Value> next;
                    for (int64_t i = 0; i < together; ++i) {
                      Value k = p.load(p.f32Type(), p.at(at, i * keys.stride), 4);
                      next.push_back(
                          p.fma(p.broadcast(k, kLanes), q, carried[i]));
                    }
                    return next;
                  });
    for (int64_t i = 0; i < together; ++i) {
      Value position = arith::TruncIOp::create(
          p.b, p.loc, p.b.getI32Type(), p.add(p.add(first, t), i));
      Value seen = arith::CmpIOp::create(p.b, p.loc, arith::CmpIPredicate::slt,
                                         p.broadcast(position, kLanes), limits);
      Value score =
          arith::SelectOp::create(p.b, p.loc, seen, sums[i], minusInfinity);
      p.store(score, p.at(scores, p.mul(p.add(t, i), kLanes * 4)), 4);
    }
  });
}

/// Turns scores into probabilities relative to the new maxima and rescales what
/// was gathered so far.
void QueryLanes::emitSoftmax(const State &state, Value count) const {
  auto scoreAt = [&](Value t) { return p.at(scores, p.mul(t, kLanes * 4)); };
  Type vector = p.f32Vec(kLanes);
  Value before = p.load(vector, state.maxima, 4);
  Value now = p.loop(p.i64(0), count, 1, {before},
                     [&](Value t, ValueRange m) -> SmallVector<Value> {
                       return {p.maxf(m[0], p.load(vector, scoreAt(t), 4))};
                     })[0];
  Value fade = p.exp(p.subf(before, now));
  Value sum = p.loop(p.i64(0), count, 1, {p.splat(vector, 0.0)},
                     [&](Value t, ValueRange sums) -> SmallVector<Value> {
                       Value e =
                           p.exp(p.subf(p.load(vector, scoreAt(t), 4), now));
                       p.store(e, scoreAt(t), 4);
                       return {p.addf(sums[0], e)};
                     })[0];
  p.store(p.fma(p.load(vector, state.totals, 4), fade, sum), state.totals, 4);
  p.store(now, state.maxima, 4);
  p.store(fade, fades, 4);
  p.loop(p.i64(0), p.i64(kLanes), 1, [&](Value lane) {
    Value scale = p.broadcast(
        p.load(p.f32Type(), p.at(fades, p.mul(lane, 4)), 4), kLanes);
    Value row = sumOf(state, lane);
    p.loop(p.i64(0), p.i64(getSumStride()), kLanes * 4, [&](Value i) {
      Value at = p.at(row, i);
      p.store(p.mulf(p.load(vector, at, 4), scale), at, 4);
    });
  });
}

/// sums[lane] += probability of the lane times value, over the block.
void QueryLanes::emitValues(const State &state, Block values,
                            Value count) const {
  int64_t lanes = registersPerVector() > 1 ? 2 : 4;
  int64_t vectors = llvm::divideCeil(valueDim, kLanes);
  auto tile = [&](Value lane, Value byte, int64_t width) {
    auto sumAt = [&](int64_t h, int64_t i) {
      return p.at(sumOf(state, p.add(lane, h)), p.add(byte, i * kLanes * 4));
    };
    SmallVector<Value> sums;
    for (int64_t h = 0; h < lanes; ++h)
      for (int64_t i = 0; i < width; ++i)
        sums.push_back(p.load(p.f32Vec(kLanes), sumAt(h, i), 4));
    sums = p.loop(
        p.i64(0), count, 1, sums, [&](Value t, ValueRange carried) {
          Value row = p.at(p.at(values.ptr, p.mul(t, values.stride)), byte);
          SmallVector<Value> v, next;
          for (int64_t i = 0; i < width; ++i)
            v.push_back(p.load(p.f32Vec(kLanes), p.at(row, i * kLanes * 4), 4));
          for (int64_t h = 0; h < lanes; ++h) {
            Value index = p.add(p.mul(t, kLanes), p.add(lane, h));
            Value weight = p.broadcast(
                p.load(p.f32Type(), p.at(scores, p.mul(index, 4)), 4), kLanes);
            for (int64_t i = 0; i < width; ++i)
              next.push_back(p.fma(v[i], weight, carried[h * width + i]));
          }
          return next;
        });
    for (int64_t h = 0; h < lanes; ++h)
      for (int64_t i = 0; i < width; ++i)
        p.store(sums[h * width + i], sumAt(h, i), 4);
  };
  constexpr int64_t together = 4, bytes = kLanes * 4;
  int64_t whole = vectors / together * together;
  p.loop(p.i64(0), p.i64(kLanes), lanes, [&](Value lane) {
    p.loop(p.i64(0), p.i64(whole * bytes), together * bytes,
           [&](Value byte) { tile(lane, byte, together); });
    if (whole < vectors)
      tile(lane, p.i64(whole * bytes), vectors - whole);
  });
}

void QueryLanes::attend(const State &state, Block keys, Block values,
                        Value first, Value count) const {
  emitScores(state, keys, first, count);
  emitSoftmax(state, count);
  emitValues(state, values, count);
}

void QueryLanes::normalize(const State &state, Value lane) const {
  Value total =
      p.load(p.f32Type(), p.at(state.totals, p.mul(lane, 4)), 4);
  Value scale = p.broadcast(p.divf(p.f32(1), total), kLanes);
  Value row = sumOf(state, lane);
  p.loop(p.i64(0), p.i64(getSumStride()), kLanes * 4, [&](Value i) {
    Value at = p.at(row, i);
    p.store(p.mulf(p.load(p.f32Vec(kLanes), at, 4), scale), at, 4);
  });
}
