//===- FlashAttention.cpp - Attention of many queries ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/FlashAttention.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

// 2^x = 2^n 2^r with n = round(x), |r| <= 1/2, for x below 127; 2^-126 far below.
// Adding 1.5 * 2^23 rounds to an integer, which lies in the low bits of the sum
// and is shifted into the exponent from there. 2^r is a minimax polynomial, off
// by 1e-7 at most.
static Value emitExp2(Emit &e, Value x) {
  Type type = x.getType(), words = e.b.getI32Type();
  if (auto vector = dyn_cast<VectorType>(type))
    words = vector.clone(words);
  auto c = [&](double value) { return e.splat(type, value); };
  auto bits = [&](Value v) -> Value {
    return arith::BitcastOp::create(e.b, e.loc, words, v);
  };
  x = e.maxf(x, c(-126));
  Value sum = e.addf(x, c(12582912));
  Value r = e.subf(x, e.subf(sum, c(12582912)));
  Value power = c(1.3264727e-3);
  for (double coefficient : {9.6715127e-3, 5.5507337e-2, 2.4022242e-1,
                             6.9314698e-1, 1.0})
    power = e.fma(power, r, c(coefficient));
  Value exponent =
      arith::ShLIOp::create(e.b, e.loc, bits(sum), e.splat(words, 23));
  return arith::BitcastOp::create(
      e.b, e.loc, type,
      arith::AddIOp::create(e.b, e.loc, bits(power), exponent));
}

FlashAttention::FlashAttention(Phase &p, const Shape &shape, bool narrow)
    : p(p), shape(shape), product(p, narrow),
      valuePanels(llvm::divideCeil(shape.valueDim, kPanel)) {
  int64_t padded = shape.queries + kPadding;
  if (shape.keyDim) {
    queries = p.allocateScratch(padded * product.getRowBytes(shape.keyDim));
    keys = p.allocateScratch(kTile / kPanel *
                             product.getPanelBytes(shape.keyDim));
  }
  values = p.allocateScratch(valuePanels * product.getPanelBytes(kTile));
  limits = p.allocateScratch(padded * 4);
  maxima = p.allocateScratch(padded * 4);
  fades = p.allocateScratch(padded * 4);
  totals = p.allocateScratch(padded * kPanel * 4);
  sums = p.allocateScratch(padded * valueBytes());
  scores = p.allocateScratch(padded * kTile * 4);
}

void FlashAttention::begin(Value queryCount) {
  count = queryCount;
  Value zero = p.splat(p.f32Vec(kPanel), 0.0);
  p.loop(p.i64(0), count, 1, [&](Value query) {
    p.store(p.f32(-std::numeric_limits<float>::max()), rowOf(maxima, query, 4),
            4);
    p.store(zero, rowOf(totals, query, kPanel * 4), 64);
    Value row = rowOf(sums, query, valueBytes());
    for (int64_t i = 0; i < valuePanels; ++i)
      p.store(zero, p.at(row, i * kPanel * 4), 64);
  });
}

void FlashAttention::setLimit(Value query, Value limit) const {
  p.store(arith::TruncIOp::create(p.b, p.loc, p.b.getI32Type(), limit),
          rowOf(limits, query, 4), 4);
}

void FlashAttention::storeQuery(Value query, Value feature,
                                Value features) const {
  product.storeRow(rowOf(queries, query, product.getRowBytes(shape.keyDim)),
                   feature, features);
}

void FlashAttention::storeKeys(Value panel, Value feature,
                               ValueRange features) const {
  product.storeLine(rowOf(keys, panel, product.getPanelBytes(shape.keyDim)),
                    feature, features);
}

void FlashAttention::storeValues(Value panel, Value position,
                                 ValueRange positions) const {
  product.storeLine(rowOf(values, panel, product.getPanelBytes(kTile)),
                    position, positions);
}

void FlashAttention::emitScores(const Keys &keys, Value panels) const {
  auto score = [&](Value panel, int64_t together) {
    p.loop(p.i64(0), count, keys.tile.rows, [&](Value query) {
      Value to = p.at(rowOf(scores, query, kTile * 4),
                      p.mul(panel, kPanel * 4));
      SmallVector<Value> products = keys.multiply(panel, together, query);
      for (auto [i, product] : llvm::enumerate(products)) {
        int64_t row = i % keys.tile.rows, column = i / keys.tile.rows;
        p.store(product, p.at(to, (row * kTile + column * kPanel) * 4), 64);
      }
    });
  };
  int64_t together = keys.tile.panels;
  Value whole = p.mul(p.div(panels, together), together);
  p.loop(p.i64(0), whole, together,
         [&](Value panel) { score(panel, together); });
  if (together > 1)
    p.loop(whole, panels, 1, [&](Value panel) { score(panel, 1); });
}

/// Turns one query's scores into probabilities relative to the new maximum. Of
/// the positions only `left` are seen, or all where that is null.
void FlashAttention::emitSoftmax(const Keys &keys, Value query, Value panels,
                                 Value left) const {
  Type vector = p.f32Vec(kPanel);
  double factor = shape.scale * 1.44269504088896341; // log2 e
  Value minusInfinity =
      p.splat(vector, -std::numeric_limits<double>::infinity());
  Value lanes = left ? laneIndices(p) : Value();
  Value row = rowOf(scores, query, kTile * 4);
  auto load = [&](Value panel) -> Value {
    Value score = p.load(vector, p.at(row, p.mul(panel, kPanel * 4)), 64);
    if (!left)
      return score;
    Value here = arith::TruncIOp::create(p.b, p.loc, p.b.getI32Type(),
                                         p.sub(left, p.mul(panel, kPanel)));
    Value seen =
        arith::CmpIOp::create(p.b, p.loc, arith::CmpIPredicate::slt, lanes,
                              p.broadcast(here, kPanel));
    return arith::SelectOp::create(p.b, p.loc, seen, score, minusInfinity);
  };
  Value peaks = p.loop(p.i64(0), panels, 1, {minusInfinity},
                       [&](Value panel, ValueRange m) -> SmallVector<Value> {
                         return {p.maxf(load(panel), m[0])};
                       })[0];
  Value maximum = rowOf(maxima, query, 4);
  Value before = p.load(p.f32Type(), maximum, 4);
  Value now = p.maxf(p.mulf(p.reduceMax(peaks), p.splat(p.f32Type(), factor)),
                     before);
  Value fade = emitExp2(p, p.subf(before, now));
  Value shift = p.broadcast(p.subf(p.f32(0.0f), now), kPanel);
  Value total = rowOf(totals, query, kPanel * 4);
  Value start =
      p.mulf(p.load(vector, total, 64), p.broadcast(fade, kPanel));
  Value sum = p.loop(
      p.i64(0), panels, 1, {start},
      [&](Value panel, ValueRange sums) -> SmallVector<Value> {
        Value e = emitExp2(p, p.fma(load(panel), p.splat(vector, factor), shift));
        Value scales = keys.valueScales ? keys.valueScales(panel) : Value();
        product.storeRow(row, p.mul(panel, kPanel),
                         scales ? p.mulf(e, scales) : e);
        return {p.addf(sums[0], e)};
      })[0];
  p.store(sum, total, 64);
  p.store(now, maximum, 4);
  p.store(fade, rowOf(fades, query, 4), 4);
}

/// sums = sums * fade + probabilities * values.
void FlashAttention::emitValues(Value panels) const {
  Tile tile = product.getTile();
  int64_t panelBytes = product.getPanelBytes(kTile);
  auto multiply = [&](Value first, int64_t together) {
    SmallVector<Value> features;
    for (int64_t i = 0; i < together; ++i)
      features.push_back(p.at(rowOf(values, first, panelBytes), i * panelBytes));
    p.loop(p.i64(0), count, tile.rows, [&](Value query) {
      Value row = rowOf(scores, query, kTile * 4);
      Value sum = p.at(rowOf(sums, query, valueBytes()),
                       p.mul(first, kPanel * 4));
      Value fade = rowOf(fades, query, 4);
      SmallVector<Value> probabilities, places, carried;
      for (int64_t t = 0; t < tile.rows; ++t)
        probabilities.push_back(p.at(row, t * kTile * 4));
      for (int64_t i = 0; i < together; ++i)
        for (int64_t t = 0; t < tile.rows; ++t) {
          places.push_back(p.at(sum, t * valueBytes() + i * kPanel * 4));
          carried.push_back(p.mulf(
              p.load(p.f32Vec(kPanel), places.back(), 64),
              p.broadcast(p.load(p.f32Type(), p.at(fade, t * 4), 4), kPanel)));
        }
      carried = product.multiply(features, probabilities,
                                 p.mul(panels, kPanel), carried);
      for (auto [value, place] : llvm::zip_equal(carried, places))
        p.store(value, place, 64);
    });
  };
  int64_t whole = valuePanels / tile.panels * tile.panels;
  p.loop(p.i64(0), p.i64(whole), tile.panels,
         [&](Value panel) { multiply(panel, tile.panels); });
  if (whole < valuePanels)
    multiply(p.i64(whole), valuePanels - whole);
}

void FlashAttention::attend(const Keys &keys, Value first, Value positions,
                            Value seen) const {
  Value panels = p.ceilDiv(positions, kPanel);
  emitScores(keys, panels);
  Value diagonal = p.less(seen, p.add(first, kTile));
  scf::IfOp::create(
      p.b, p.loc, diagonal,
      [&](OpBuilder &, Location) {
        p.loop(p.i64(0), count, 1, [&](Value query) {
          Value limit = p.widen(
              p.load(p.b.getI32Type(), rowOf(limits, query, 4), 4));
          emitSoftmax(keys, query, panels, p.sub(limit, first));
        });
        scf::YieldOp::create(p.b, p.loc);
      },
      [&](OpBuilder &, Location) {
        p.loop(p.i64(0), count, 1, [&](Value query) {
          emitSoftmax(keys, query, p.i64(kTile / kPanel), nullptr);
        });
        scf::YieldOp::create(p.b, p.loc);
      });
  emitValues(panels);
}

void FlashAttention::attend(Value first, Value positions, Value seen) const {
  Tile tile = product.getTile();
  int64_t panelBytes = product.getPanelBytes(shape.keyDim);
  int64_t rowBytes = product.getRowBytes(shape.keyDim);
  auto multiply = [&](Value panel, int64_t together, Value query) {
    SmallVector<Value> panels, rows;
    for (int64_t i = 0; i < together; ++i)
      panels.push_back(p.at(rowOf(keys, panel, panelBytes), i * panelBytes));
    for (int64_t t = 0; t < tile.rows; ++t)
      rows.push_back(p.at(rowOf(queries, query, rowBytes), t * rowBytes));
    SmallVector<Value> zero(together * tile.rows,
                            p.splat(p.f32Vec(kPanel), 0.0));
    return product.multiply(panels, rows, shape.keyDim, zero);
  };
  attend({tile, multiply, nullptr}, first, positions, seen);
}

void FlashAttention::storeResult(Value query, Type element, Value to) const {
  Value total = p.reduceAdd(
      p.load(p.f32Vec(kPanel), rowOf(totals, query, kPanel * 4), 64));
  Value inverse = p.divf(p.f32(1.0f), total);
  Value from = rowOf(sums, query, valueBytes());
  p.vectorLoop(shape.valueDim, kPanel, [&](Value i, int64_t width) {
    Value x = p.loadAsF32(p.f32Type(), p.at(from, p.mul(i, 4)), width);
    p.storeFromF32(p.mulf(x, p.broadcast(inverse, width)), element,
                   p.at(to, p.mul(i, p.bytesOf(element))));
  });
}

void sputnik::cpu::forSlots(Phase &p, Value slots, Value first, Value last,
                            function_ref<void(Value, Value)> body) {
  p.loop(first, last, 1, {first},
         [&](Value row, ValueRange begin) -> SmallVector<Value> {
           // Rows of one slot end with this one, if the next row is another's
           // or there is none.
           Value next = p.add(row, 1);
           Value inside = p.min(next, p.sub(last, p.i64(1)));
           Value same = p.both(p.less(next, last),
                               p.equal(p.index(slots, inside),
                                       p.index(slots, row)));
           Value ends = arith::XOrIOp::create(
               p.b, p.loc, same, p.splat(p.b.getI1Type(), 1));
           p.ifThen(ends, [&] { body(begin[0], p.sub(next, begin[0])); });
           return {Value(arith::SelectOp::create(p.b, p.loc, same, begin[0],
                                                 next))};
         });
}
