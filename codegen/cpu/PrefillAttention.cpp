//===- PrefillAttention.cpp - Attention of the rows of a prompt -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block of rows and the heads of a group are the queries of a FlashAttention.
// Each tile of the cache is rewritten once for all of them as panels: keys in
// bytes are multiplied where they lie.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/ByteKeys.h"
#include "codegen/cpu/CacheHead.h"
#include "codegen/cpu/FlashAttention.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

constexpr int64_t kPanel = FlashAttention::kPanel;
constexpr int64_t kTile = FlashAttention::kTile;

class PrefillAttention {
public:
  PrefillAttention(Phase &p, r1::RegionOp region, r1::AttentionOp op);

  void emit();

private:
  /// Rows of one slot, of a block.
  struct RowRange {
    Value first, count;
  };
  void emitBlock(Value head, RowRange range);
  std::pair<Value, Value> loadQueries(Value head, RowRange range);
  void packKeys(const CacheHead &stored, Value first, Value positions) const;
  void packValues(const CacheHead &stored, Value first, Value positions) const;
  void attendBytes(const CacheHead &stored, Value first, Value positions,
                   Value seen) const;

  Phase &p;
  r1::AttentionOp op;
  const r1::KVCacheType cache;
  const int64_t dim, heads, group;
  const Rows in, out;
  const int64_t rows; ///< Of a block.
  FlashAttention flash;
  /// Multiplies keys that are bytes with `queries`.
  std::optional<ByteKeys> byteKeys;
  Value queries;
};

} // namespace

/// Rows of a block: enough queries that rewriting a tile costs little, and
/// blocks enough for all cores.
static int64_t chooseRows(Phase &p, int64_t heads, int64_t group) {
  constexpr int64_t queries = 384, blocksPerCore = 4;
  int64_t share = p.attr.getMaxRows() * heads /
                  (blocksPerCore * p.target.getCores());
  return std::max<int64_t>(1, std::min(share, queries / group));
}

PrefillAttention::PrefillAttention(Phase &p, r1::RegionOp region,
                                   r1::AttentionOp op)
    : p(p), op(op), cache(op.getCache().getType()), dim(cache.getDim()),
      heads(cache.getHeads()),
      group(cast<RankedTensorType>(op.getType()).getDimSize(1) / (heads * dim)),
      in(p.rows(op.getQuery())),
      out(p.rows(region.getBody().front().getTerminator()->getOperand(0))),
      rows(chooseRows(p, heads, group)),
      flash(p,
            {rows * group, cache.isQuantized() ? 0 : dim, dim,
             op.getScale().convertToFloat()},
            /*narrow=*/!cache.getElement().isF32()) {
  if (!cache.isQuantized())
    return;
  byteKeys.emplace(p, cache);
  queries = p.allocateScratch((rows * group + FlashAttention::kPadding) *
                              byteKeys->getQueryBytes());
}

/// Copies queries; gives the least and the greatest number of positions that
/// one of them sees.
std::pair<Value, Value> PrefillAttention::loadQueries(Value head,
                                                      RowRange range) {
  SmallVector<Value> limits = p.loop(
      p.i64(0), range.count, 1,
      {p.i64(std::numeric_limits<int64_t>::max()), p.i64(0)},
      [&](Value i, ValueRange limits) -> SmallVector<Value> {
        Value row = p.add(range.first, i);
        Value limit = p.add(p.index(op.getPositions(), row), 1);
        Value from = p.at(p.rowPtr(in, row), p.mul(head, group * dim * 4));
        p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
          Value query = p.add(p.mul(i, group), g);
          Value features = p.at(from, p.mul(g, dim * 4));
          flash.setLimit(query, limit);
          if (byteKeys)
            return byteKeys->storeQuery(
                features, p.at(queries, p.mul(query, byteKeys->getQueryBytes())));
          p.vectorLoop(dim, kPanel, [&](Value d, int64_t width) {
            flash.storeQuery(
                query, d,
                p.loadAsF32(p.f32Type(), p.at(features, p.mul(d, 4)), width));
          });
        });
        return {p.min(limits[0], limit),
                Value(arith::MaxSIOp::create(p.b, p.loc, limits[1], limit))};
      });
  return {limits[0], limits[1]};
}

void PrefillAttention::packKeys(const CacheHead &stored, Value first,
                                Value positions) const {
  int64_t step = flash.getStep();
  p.loop(p.i64(0), p.ceilDiv(positions, kPanel), 1, [&](Value panel) {
    Value position = p.add(first, p.mul(panel, kPanel));
    auto pack = [&](Value feature, int64_t exist) {
      SmallVector<Value> features(step, p.splat(p.f32Vec(kPanel), 0.0));
      for (int64_t i = 0; i < exist; ++i)
        features[i] = stored.loadKeys(position, p.add(feature, i));
      flash.storeKeys(panel, feature, features);
    };
    int64_t whole = dim / step * step;
    p.loop(p.i64(0), p.i64(whole), step,
           [&](Value feature) { pack(feature, step); });
    if (whole < dim)
      pack(p.i64(whole), dim - whole);
  });
}

void PrefillAttention::packValues(const CacheHead &stored, Value first,
                                  Value positions) const {
  Value last = p.sub(p.add(first, positions), p.i64(1));
  Value end = p.mul(p.ceilDiv(positions, kPanel), kPanel);
  p.loop(p.i64(0), end, flash.getStep(), [&](Value position) {
    auto pack = [&](Value panel, int64_t exist) {
      SmallVector<Value> values;
      for (int64_t i = 0; i < flash.getStep(); ++i) {
        // Behind the last it is the last again, whose probability is zero.
        Value at = p.min(p.add(p.add(first, position), i), last);
        values.push_back(
            stored.loadValues(at, p.mul(panel, kPanel), exist));
      }
      flash.storeValues(panel, position, values);
    };
    int64_t whole = dim / kPanel;
    p.loop(p.i64(0), p.i64(whole), 1,
           [&](Value panel) { pack(panel, kPanel); });
    if (int64_t rest = dim % kPanel)
      pack(p.i64(whole), rest);
  });
}

/// Keys are multiplied where they lie; values have their scales in the
/// probabilities.
void PrefillAttention::attendBytes(const CacheHead &stored, Value first,
                                   Value positions, Value seen) const {
  Tile tile = chooseTile(p.target, p.attr.getKind(), /*blocks=*/true);
  auto positionOf = [&](Value panel) {
    return p.add(first, p.mul(panel, kPanel));
  };
  auto multiply = [&](Value panel, int64_t count, Value query) {
    SmallVector<Value> rows;
    Value base = p.at(queries, p.mul(query, byteKeys->getQueryBytes()));
    for (int64_t t = 0; t < tile.rows; ++t)
      rows.push_back(p.at(base, t * byteKeys->getQueryBytes()));
    return byteKeys->multiply(stored.keysAt(positionOf(panel)), count, rows,
                           [](Value, int64_t) {});
  };
  auto scales = [&](Value panel) {
    return stored.loadValueScales(positionOf(panel));
  };
  flash.attend({tile, multiply, scales}, first, positions, seen);
}

void PrefillAttention::emitBlock(Value head, RowRange range) {
  CacheHead stored(p, cache, p.index(op.getSlots(), range.first),
                   op.getLayer(), head);
  flash.begin(p.mul(range.count, group));
  auto [seen, length] = loadQueries(head, range);
  p.loop(p.i64(0), length, kTile, [&, seen = seen, length = length](Value first) {
    Value positions = p.min(p.i64(kTile), p.sub(length, first));
    packValues(stored, first, positions);
    if (byteKeys)
      return attendBytes(stored, first, positions, seen);
    packKeys(stored, first, positions);
    flash.attend(first, positions, seen);
  });
  int64_t size = dim * p.bytesOf(out.element);
  p.loop(p.i64(0), range.count, 1, [&](Value i) {
    Value to = p.at(p.rowPtr(out, p.add(range.first, i)),
                    p.mul(head, group * size));
    p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
      flash.storeResult(p.add(p.mul(i, group), g), out.element,
                        p.at(to, p.mul(g, size)));
    });
  });
}

void PrefillAttention::emit() {
  // Later rows see more, so they come first, and threads take turns in one
  // order and then in the other.
  Value blocks = p.ceilDiv(in.count, rows), items = p.mul(blocks, heads);
  p.loop(p.i64(0), items, p.threads, [&](Value start) {
    Value backwards = p.equal(p.rem(p.div(start, p.threads), 2), p.i64(1));
    Value turn = arith::SelectOp::create(
        p.b, p.loc, backwards, p.sub(p.sub(p.threads, p.thread), p.i64(1)),
        p.thread);
    Value item = p.add(start, turn);
    p.ifThen(p.less(item, items), [&] {
      Value block = p.sub(p.sub(blocks, p.div(item, heads)), p.i64(1));
      Value first = p.mul(block, rows);
      Value last = p.min(p.add(first, rows), in.count);
      forSlots(p, op.getSlots(), first, last, [&](Value begin, Value count) {
        emitBlock(p.rem(item, heads), {begin, count});
      });
    });
  });
}

void sputnik::cpu::emitPrefillAttention(Phase &p, r1::RegionOp region,
                                        r1::AttentionOp op) {
  int64_t mark = p.scratchMark();
  PrefillAttention(p, region, op).emit();
  p.restoreScratch(mark);
}
