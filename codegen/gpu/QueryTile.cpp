//===- QueryTile.cpp - A block's queries of prefill's attention -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/QueryTile.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Columns of sums, of which a lane has two.
static constexpr int64_t kGroup = 8;

int64_t QueryTile::countGroup(r1::AttentionOp op) {
  r1::KVCacheType cache = op.getCache().getType();
  return cast<RankedTensorType>(op.getType()).getDimSize(1) /
         (cache.getHeads() * cache.getDim());
}

QueryTile::QueryTile(Kernel &k, r1::AttentionOp op)
    : k(k), op(op), cache(op.getCache().getType()), group(countGroup(op)) {
  head = k.block;
  // Late rows see the most positions: their blocks start first.
  Value tiles = k.ceilDiv(k.rowCount, getRows());
  firstRow = k.mul(k.sub(k.sub(tiles, k.i64(1)), k.rowTile), getRows());
  count = k.min(k.sub(k.rowCount, firstRow), k.i64(getRows()));
}

SmallVector<Value> QueryTile::forRuns(ValueRange carried, RunBody body) {
  SmallVector<Value> all = {k.i64(0), k.i64(0)};
  llvm::append_range(all, carried);
  all = k.loop(k.i64(0), count, 1, all, [&](Value t, ValueRange before) {
    Value next = k.add(t, 1);
    Value slot = k.index(op.getSlots(), row(t));
    Value length =
        arith::MaxSIOp::create(k.b, k.loc, before[1],
                               k.add(k.index(op.getPositions(), row(t)), 1));
    Value same = k.both(k.less(next, count),
                        k.equal(k.index(op.getSlots(), row(next)), slot));
    Value ends = arith::XOrIOp::create(k.b, k.loc, same,
                                       k.splat(k.b.getI1Type(), 1));
    ValueRange old = before.drop_front(2);
    SmallVector<Value> now = k.ifThenElse(ends, old, [&] {
      Value keys = k.cacheHeadPtr(cache, slot, op.getLayer(), head);
      return body(
          {before[0], next, length, keys, k.at(keys, cache.getKeyBytes())},
          old);
    });
    SmallVector<Value> after = {k.select(ends, next, before[0]),
                                k.select(ends, k.i64(0), length)};
    llvm::append_range(after, now);
    return after;
  });
  return SmallVector<Value>(ArrayRef(all).drop_front(2));
}

void QueryTile::load() {
  auto tokenOf = [&](Value query) {
    return k.min(k.div(query, group), k.sub(count, k.i64(1)));
  };
  Value firstQuery = k.mul(k.warp, 16), place = k.rem(k.lane, 4);
  firstToken = tokenOf(firstQuery);
  lastToken = tokenOf(k.add(firstQuery, 15));
  Value from[2];
  for (int64_t i = 0; i < 2; ++i) {
    Value query = k.add(k.add(firstQuery, k.div(k.lane, 4)), 8 * i);
    token[i] = tokenOf(query);
    member[i] = k.rem(query, group);
    position[i] = k.index(op.getPositions(), row(token[i]));
    Value feature =
        k.mul(k.add(k.mul(head, group), member[i]), getDim());
    from[i] = k.at(k.rowPtr(k.rows(op.getQuery()), row(token[i])),
                   k.mul(feature, 4));
  }
  Value least = arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(),
                                        k.min(position[0], position[1]));
  for (int64_t bit = 4; bit < kWarp; bit *= 2)
    least = arith::MinSIOp::create(k.b, k.loc, least, k.shuffleXor(least, bit));
  leastPosition = k.widen(least);
  for (int64_t d = 0; d < getDim(); d += kColumns)
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t i = 0; i < 2; ++i) {
        Value feature = k.add(k.mul(place, 2), d + half * kGroup);
        Value pair = k.load(k.f32Vec(2), k.at(from[i], k.mul(feature, 4)), 8);
        auto lane = [&](int32_t n) -> Value {
          return LLVM::ExtractElementOp::create(k.b, k.loc, pair, k.i32(n));
        };
        queries.push_back(k.packPair(lane(0), lane(1)));
      }
}

SmallVector<Value> QueryTile::begin() {
  Value lowest = k.f32(-std::numeric_limits<float>::max());
  return {lowest, lowest, k.f32(0), k.f32(0)};
}

/// Scores of what a query does not see are minus infinity.
SmallVector<Value> QueryTile::mask(const Run &run, Value first,
                                   ValueRange scores) {
  Value before[2];
  for (int64_t i = 0; i < 2; ++i) {
    Value inRun = k.both(k.less(k.sub(run.begin, k.i64(1)), token[i]),
                         k.less(token[i], run.end));
    Value end = k.select(inRun, k.add(position[i], 1), k.i64(0));
    Value own = k.add(first, k.mul(k.rem(k.lane, 4), 2));
    before[i] = arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(),
                                        k.sub(end, own));
  }
  Value unseen = k.f32(-std::numeric_limits<float>::infinity());
  SmallVector<Value> masked;
  for (auto [n, score] : llvm::enumerate(scores)) {
    auto at = static_cast<int32_t>(n / 4 * kGroup + n % 2);
    Value seen = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::slt,
                                       k.i32(at), before[n % 4 / 2]);
    masked.push_back(k.select(seen, score, unseen));
  }
  return masked;
}

std::array<Value, 2> QueryTile::weigh(const Run &run, Value first,
                                      MutableArrayRef<Value> scores,
                                      MutableArrayRef<Value> state) {
  auto larger = [&](Value a, Value c) -> Value {
    return arith::MaxNumFOp::create(k.b, k.loc, a, c);
  };
  // Positions that all queries of the warp see.
  Value whole = k.both(k.less(k.sub(run.begin, k.i64(1)), firstToken),
                       k.less(lastToken, run.end));
  Value seen = k.select(whole, k.add(leastPosition, 1), k.i64(0));
  auto positions = static_cast<int64_t>(scores.size() / 4) * kGroup;
  llvm::copy(k.ifThenElse(k.less(seen, k.add(first, positions)), scores,
                          [&] { return mask(run, first, scores); }),
             scores.begin());
  // Powers of two are what the hardware has.
  Value scale = k.f32(op.getScale().convertToFloat() * 1.44269504f);
  std::array<Value, 2> factors;
  Value shift[2];
  // Side by side, as each waits for the one before in its chain.
  Value peaks[2][2];
  for (auto [n, score] : llvm::enumerate(scores)) {
    Value &peak = peaks[n % 4 / 2][n % 2];
    peak = peak ? larger(peak, score) : score;
  }
  for (auto &peak : peaks)
    peak[0] = larger(peak[0], peak[1]);
  // Four lanes share a query.
  for (int64_t bit : {1, 2})
    for (auto &peak : peaks)
      peak[0] = larger(peak[0], k.shuffleXor(peak[0], bit));
  for (int64_t i = 0; i < 2; ++i) {
    Value peak = larger(state[i], k.mulf(peaks[i][0], scale));
    factors[i] = k.exp2(k.subf(state[i], peak));
    state[i] = peak;
    state[2 + i] = k.mulf(state[2 + i], factors[i]);
    shift[i] = k.subf(k.f32(0), peak);
  }
  for (auto [n, score] : llvm::enumerate(scores)) {
    size_t i = n % 4 / 2;
    score = k.exp2(k.fma(score, scale, shift[i]));
    state[2 + i] = k.addf(state[2 + i], score);
  }
  return factors;
}

void QueryTile::fade(MutableArrayRef<Value> sums,
                     const std::array<Value, 2> &factors) {
  for (auto [n, sum] : llvm::enumerate(sums))
    sum = k.mulf(sum, factors[n % 4 / 2]);
}

SmallVector<Value> QueryTile::pack(ArrayRef<Value> weights) {
  SmallVector<Value> operand;
  for (size_t i = 0; i < weights.size(); i += 2)
    operand.push_back(k.packPair(weights[i], weights[i + 1]));
  return operand;
}

void QueryTile::store(ValueRange state, ValueRange sums) {
  const Rows &out =
      k.rows(k.region.getBody().front().getTerminator()->getOperand(0));
  int64_t bytes = k.bytesOf(out.element);
  for (int64_t i = 0; i < 2; ++i) {
    Value total = state[2 + i];
    for (int64_t bit : {1, 2})
      total = k.addf(total, k.shuffleXor(total, bit));
    Value inverse = k.divf(k.f32(1), total);
    Value query = k.add(k.add(k.mul(k.warp, 16), k.div(k.lane, 4)), 8 * i);
    k.ifThen(k.less(query, k.mul(count, group)), [&] {
      Value base = k.rowPtr(out, row(token[i]));
      Value first = k.add(k.mul(k.add(k.mul(head, group), member[i]), getDim()),
                          k.mul(k.rem(k.lane, 4), 2));
      for (int64_t n = 0; n < getDim() / kGroup; ++n) {
        Value pair = LLVM::PoisonOp::create(k.b, k.loc, k.f32Vec(2));
        for (int64_t j = 0; j < 2; ++j)
          pair = LLVM::InsertElementOp::create(
              k.b, k.loc, pair, k.mulf(sums[4 * n + 2 * i + j], inverse),
              k.i32(static_cast<int32_t>(j)));
        if (!out.element.isF32())
          pair = arith::TruncFOp::create(k.b, k.loc,
                                         k.vecType(2, out.element), pair);
        k.store(pair, k.at(base, k.mul(k.add(first, n * kGroup), bytes)),
                static_cast<unsigned>(2 * bytes));
      }
    });
  }
}
