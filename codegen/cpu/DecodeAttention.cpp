//===- DecodeAttention.cpp - Attention of a few rows ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The query heads of a group are rows of two small products, so that each key
// and value is loaded once for all of them. Positions come in blocks; softmax is
// online, with block borders fixed by position: a row's result does not depend
// on what else is in the step.
//
// One thread handles one row and one KV head at a time; where a step has fewer
// of these than threads, one span of their positions, and what spans found is
// merged in their order.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/ByteKeys.h"
#include "codegen/cpu/CacheHead.h"
#include "codegen/cpu/PanelTile.h"
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
constexpr float kLowest = -std::numeric_limits<float>::max();

/// What is known of a group's heads after some positions: the largest score,
/// the sum of exp(score - largest), and of that times the values.
struct Sums {
  Value maxima, totals; ///< [group] f32.
  Value values;         ///< [group][dim] f32.
};

class DecodeAttention {
public:
  DecodeAttention(Phase &p, r1::RegionOp region, r1::AttentionOp op);

  void emit();

private:
  /// A row and a KV head.
  struct Item {
    Value row, head;
  };
  Item itemAt(Value index) {
    return {p.div(index, heads), p.rem(index, heads)};
  }
  Value lengthOf(const Item &item) {
    return p.add(p.index(op.getPositions(), item.row), 1);
  }

  int64_t sumsBytes() {
    return 2 * llvm::alignTo(group * 4, 64) + group * dim * 4;
  }
  Sums sumsAt(Value ptr) {
    int64_t heads = llvm::alignTo(group * 4, 64);
    return {ptr, p.at(ptr, heads), p.at(ptr, 2 * heads)};
  }
  Value headOf(Value base, int64_t g, int64_t stride) {
    return p.at(base, g * stride);
  }

  void emitWhole(const Item &item);
  void emitSpans();
  void mergeSpans(const Item &item, Value first);
  /// Positions of each span but the last of a context of `length`.
  Value spanOf(Value length) {
    return p.mul(p.ceilDiv(p.ceilDiv(length, kBlock), spans), kBlock);
  }

  void beginItem(const Item &item);
  void roundQuery();
  void clear(const Sums &sums);
  void gather(const Sums &sums, Value first, Value end);
  void store(const Item &item, const Sums &sums);

  SmallVector<Value> multiplyFloats(Value keys, int64_t panels);
  SmallVector<Value> multiplyBytes(Value keys, int64_t panels) const;
  void emitScores(Value block, Value panels);
  void emitSoftmax(const Sums &sums, Value block, Value panels);
  void emitWeightedValues(const Sums &sums, Value block, Value count);
  /// Asks for what lies a block ahead of where `ptr` is in the cache.
  void prefetch(Value ptr, int64_t size, int64_t blockBytes) const;

  Phase &p;
  r1::AttentionOp op;
  const r1::KVCacheType cache;
  const int64_t dim, heads, group;
  const Rows in, out;
  /// Multiplies keys that are bytes.
  std::optional<ByteKeys> byteKeys;
  /// Spans of positions that a row and KV head have at most.
  int64_t spans = 1;

  // This thread's scratch.
  Value probabilities; ///< [group][kBlock] f32.
  Value biggest;       ///< [group][16] f32: maxima of a block.
  Value rounded;       ///< The query's heads for `byteKeys`.

  // Of the item at hand.
  std::optional<CacheHead> stored;
  Value query, length;
};

} // namespace

/// As many spans as let all threads work where the heads of one row do not.
static int64_t chooseSpans(r1::TargetAttr target, int64_t heads) {
  if (heads % target.getCores() == 0)
    return 1;
  return llvm::divideCeil(4 * target.getCores(), heads);
}

DecodeAttention::DecodeAttention(Phase &p, r1::RegionOp region,
                                 r1::AttentionOp op)
    : p(p), op(op), cache(op.getCache().getType()), dim(cache.getDim()),
      heads(cache.getHeads()),
      group(cast<RankedTensorType>(op.getType()).getDimSize(1) / (heads * dim)),
      in(p.rows(op.getQuery())),
      out(p.rows(region.getBody().front().getTerminator()->getOperand(0))) {
  spans = chooseSpans(p.target, heads);
  probabilities = p.allocateScratch(group * kBlock * 4);
  biggest = p.allocateScratch(group * kPanel * 4);
  if (!cache.isQuantized())
    return;
  byteKeys.emplace(p, cache);
  if (byteKeys->roundsQueries())
    rounded = p.allocateScratch(group * byteKeys->getQueryBytes());
}

static int64_t registersPerVector(r1::TargetAttr target) {
  return std::max<int64_t>(1, 512 / target.getVectorBits());
}

/// The query's products with 16 keys: [panel * group + head].
SmallVector<Value> DecodeAttention::multiplyFloats(Value keys,
                                                   int64_t panels) {
  Type element = cache.getElement();
  int64_t bytes = p.bytesOf(element), panelBytes = cache.getKeyPanelBytes();
  SmallVector<Value> sums(panels * group, p.splat(p.f32Vec(kPanel), 0.0));
  return p.loop(
      p.i64(0), p.i64(dim), 1, sums, [&](Value d, ValueRange carried) {
        SmallVector<Value> next(carried.begin(), carried.end());
        SmallVector<Value> q;
        for (int64_t g = 0; g < group; ++g)
          q.push_back(p.broadcast(
              p.load(p.f32Type(),
                     p.at(headOf(query, g, dim * 4), p.mul(d, 4)), 4),
              kPanel));
        for (int64_t i = 0; i < panels; ++i) {
          Value at = p.at(keys, p.add(p.mul(d, kPanel * bytes), i * panelBytes));
          prefetch(at, kPanel * bytes, kBlock / kPanel * panelBytes);
          Value k = p.loadAsF32(element, at, kPanel);
          for (int64_t g = 0; g < group; ++g)
            next[i * group + g] = p.fma(k, q[g], next[i * group + g]);
        }
        return next;
      });
}

/// The same of keys that are bytes.
SmallVector<Value> DecodeAttention::multiplyBytes(Value keys,
                                                  int64_t panels) const {
  SmallVector<Value> rows;
  Value base = byteKeys->roundsQueries() ? rounded : query;
  for (int64_t g = 0; g < group; ++g)
    rows.push_back(p.at(base, g * byteKeys->getQueryBytes()));
  return byteKeys->multiply(keys, panels, rows, [&](Value at, int64_t size) {
    prefetch(at, size, kBlock / kPanel * cache.getKeyPanelBytes());
  });
}

void DecodeAttention::prefetch(Value ptr, int64_t size,
                               int64_t blockBytes) const {
  for (int64_t line = 0; line < size; line += 64)
    LLVM::Prefetch::create(p.b, p.loc, p.at(ptr, blockBytes + line), /*rw=*/0,
                           /*hint=*/3, /*cache=*/1);
}

/// probabilities[g][i] = scaled score of position block + i, -inf behind the
/// last; biggest[g] the maximum in each lane.
void DecodeAttention::emitScores(Value block, Value panels) {
  int64_t together = std::max<int64_t>(1, (byteKeys ? 12 : 4) / group);
  Value lane = laneIndices(p);
  Value minusInfinity =
      p.splat(p.f32Vec(kPanel), -std::numeric_limits<double>::infinity());
  for (int64_t g = 0; g < group; ++g)
    p.store(minusInfinity, headOf(biggest, g, kPanel * 4), 4);
  Value scale = p.splat(p.f32Vec(kPanel), op.getScale().convertToDouble());
  auto scorePanels = [&](Value panel, int64_t count) {
    Value position = p.add(block, p.mul(panel, kPanel));
    Value keys = stored->keysAt(position);
    SmallVector<Value> sums =
        byteKeys ? multiplyBytes(keys, count) : multiplyFloats(keys, count);
    for (int64_t i = 0; i < count; ++i) {
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
        p.store(score, p.at(headOf(probabilities, g, kBlock * 4), at), 4);
        Value peak = headOf(biggest, g, kPanel * 4);
        p.store(p.maxf(score, p.load(p.f32Vec(kPanel), peak, 4)), peak, 4);
      }
    }
  };
  together = std::min(together, kBlock / kPanel);
  Value whole = p.mul(p.div(panels, together), together);
  p.loop(p.i64(0), whole, together,
         [&](Value panel) { scorePanels(panel, together); });
  if (together > 1)
    p.loop(whole, panels, 1, [&](Value panel) { scorePanels(panel, 1); });
}

/// Turns scores into probabilities relative to the new maximum and rescales what
/// was gathered so far. Values that are bytes have their scales in the
/// probabilities afterwards.
void DecodeAttention::emitSoftmax(const Sums &sums, Value block,
                                  Value panels) {
  int64_t lanes = std::gcd(dim, kPanel);
  p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
    Value maxAt = p.at(sums.maxima, p.mul(g, 4));
    Value sumAt = p.at(sums.totals, p.mul(g, 4));
    Value before = p.load(p.f32Type(), maxAt, 4);
    Value peak = p.reduceMax(
        p.load(p.f32Vec(kPanel), p.at(biggest, p.mul(g, kPanel * 4)), 4));
    Value now = p.maxf(before, peak);
    Value fade = p.exp(p.subf(before, now));
    Value shift = p.broadcast(now, kPanel);
    Value row = p.at(probabilities, p.mul(g, kBlock * 4));
    Value sum = p.loop(
        p.i64(0), panels, 1, {p.splat(p.f32Vec(kPanel), 0.0)},
        [&](Value panel, ValueRange sums) -> SmallVector<Value> {
          Value at = p.at(row, p.mul(panel, kPanel * 4));
          Value e = p.exp(p.subf(p.load(p.f32Vec(kPanel), at, 4), shift));
          Value weight = e;
          if (cache.isQuantized())
            weight = p.mulf(e, stored->loadValueScales(
                                   p.add(block, p.mul(panel, kPanel))));
          p.store(weight, at, 4);
          return {p.addf(sums[0], e)};
        })[0];
    Value total =
        p.fma(p.load(p.f32Type(), sumAt, 4), fade, p.reduceAdd(sum));
    p.store(total, sumAt, 4);
    p.store(now, maxAt, 4);
    Value fades = p.broadcast(fade, lanes);
    Value gathered = p.at(sums.values, p.mul(g, dim * 4));
    p.loop(p.i64(0), p.i64(dim), lanes, [&](Value d) {
      Value at = p.at(gathered, p.mul(d, 4));
      Value old = p.loadAsF32(p.f32Type(), at, lanes);
      p.storeFromF32(p.mulf(old, fades), p.f32Type(), at);
    });
  });
}

/// sums.values[g] += sum over the block of probability * value.
void DecodeAttention::emitWeightedValues(const Sums &state, Value block,
                                         Value count) {
  int64_t lanes = std::gcd(dim, kPanel), vectors = dim / lanes;
  int64_t budget = p.target.getVectorRegisters() * 3 / 4 /
                   registersPerVector(p.target) / group;
  int64_t together = std::clamp<int64_t>(budget, 1, vectors);
  int64_t bytes = p.bytesOf(cache.getElement());
  auto chunk = [&](Value d, int64_t width) {
    SmallVector<Value> sums;
    auto at = [&](int64_t g, int64_t i) {
      return p.at(headOf(state.values, g, dim * 4),
                  p.mul(p.add(d, i * lanes), 4));
    };
    for (int64_t g = 0; g < group; ++g)
      for (int64_t i = 0; i < width; ++i)
        sums.push_back(p.loadAsF32(p.f32Type(), at(g, i), lanes));
    sums = p.loop(
        p.i64(0), count, 1, sums, [&](Value position, ValueRange carried) {
          SmallVector<Value> next(carried.begin(), carried.end());
          Value value = stored->valueAt(p.add(block, position), d);
          prefetch(value, width * lanes * bytes,
                   kBlock / kPanel * cache.getValuePanelBytes());
          SmallVector<Value> v;
          for (int64_t i = 0; i < width; ++i)
            v.push_back(
                stored->loadUnscaled(p.at(value, i * lanes * bytes), lanes));
          for (int64_t g = 0; g < group; ++g) {
            Value weight = p.broadcast(
                p.load(p.f32Type(),
                       p.at(headOf(probabilities, g, kBlock * 4),
                            p.mul(position, 4)),
                       4),
                lanes);
            for (int64_t i = 0; i < width; ++i)
              next[g * width + i] = p.fma(v[i], weight, next[g * width + i]);
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

void DecodeAttention::beginItem(const Item &item) {
  stored.emplace(p, cache, p.index(op.getSlots(), item.row), op.getLayer(),
                 item.head);
  length = lengthOf(item);
  query = p.at(p.rowPtr(in, item.row), p.mul(item.head, group * dim * 4));
  if (byteKeys && byteKeys->roundsQueries())
    roundQuery();
}

void DecodeAttention::roundQuery() {
  p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
    byteKeys->storeQuery(p.at(query, p.mul(g, dim * 4)),
                      p.at(rounded, p.mul(g, byteKeys->getQueryBytes())));
  });
}

void DecodeAttention::clear(const Sums &sums) {
  p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
    p.store(p.f32(kLowest), p.at(sums.maxima, p.mul(g, 4)), 4);
    p.store(p.f32(0.0f), p.at(sums.totals, p.mul(g, 4)), 4);
  });
  p.vectorLoop(group * dim, kPanel, [&](Value i, int64_t width) {
    Type type = width == 1 ? p.f32Type() : Type(p.f32Vec(width));
    p.store(p.splat(type, 0.0), p.at(sums.values, p.mul(i, 4)), 4);
  });
}

/// Adds positions [first, end) to what the sums know; `first` begins a block.
void DecodeAttention::gather(const Sums &sums, Value first, Value end) {
  p.loop(first, end, kBlock, [&](Value block) {
    Value count = p.min(p.i64(kBlock), p.sub(end, block));
    Value panels = p.ceilDiv(count, kPanel);
    emitScores(block, panels);
    emitSoftmax(sums, block, panels);
    emitWeightedValues(sums, block, count);
  });
}

void DecodeAttention::store(const Item &item, const Sums &sums) {
  int64_t lanes = std::gcd(dim, kPanel), bytes = p.bytesOf(out.element);
  Value result = p.at(p.rowPtr(out, item.row),
                      p.mul(item.head, group * dim * bytes));
  p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
    Value total = p.load(p.f32Type(), p.at(sums.totals, p.mul(g, 4)), 4);
    Value scale = p.broadcast(p.divf(p.f32(1.0f), total), lanes);
    Value from = p.at(sums.values, p.mul(g, dim * 4));
    Value to = p.at(result, p.mul(g, dim * bytes));
    p.loop(p.i64(0), p.i64(dim), lanes, [&](Value d) {
      Value x = p.loadAsF32(p.f32Type(), p.at(from, p.mul(d, 4)), lanes);
      p.storeFromF32(p.mulf(x, scale), out.element,
                     p.at(to, p.mul(d, bytes)));
    });
  });
}

void DecodeAttention::emitWhole(const Item &item) {
  int64_t mark = p.scratchMark();
  Sums sums = sumsAt(p.allocateScratch(sumsBytes()));
  beginItem(item);
  clear(sums);
  gather(sums, p.i64(0), length);
  store(item, sums);
  p.restoreScratch(mark);
}

/// Sums of the spans of an item, `first` being those of the first span.
void DecodeAttention::mergeSpans(const Item &item, Value first) {
  int64_t mark = p.scratchMark();
  Sums merged = sumsAt(p.allocateScratch(sumsBytes()));
  clear(merged);
  int64_t lanes = std::gcd(dim, kPanel);
  Value length = lengthOf(item);
  Value count = p.div(p.sub(p.add(length, spanOf(length)), p.i64(1)),
                      spanOf(length));
  auto at = [&](Value base, Value g) { return p.at(base, p.mul(g, 4)); };
  auto load = [&](Value ptr) { return p.load(p.f32Type(), ptr, 4); };
  p.loop(p.i64(0), count, 1, [&](Value index) {
    Sums span = sumsAt(p.at(first, p.mul(index, sumsBytes())));
    p.loop(p.i64(0), p.i64(group), 1, [&](Value g) {
      Value old = load(at(merged.maxima, g)), peak = load(at(span.maxima, g));
      Value now = p.maxf(old, peak);
      Value keep = p.exp(p.subf(old, now)), take = p.exp(p.subf(peak, now));
      p.store(now, at(merged.maxima, g), 4);
      p.store(p.fma(load(at(span.totals, g)), take,
                    p.mulf(load(at(merged.totals, g)), keep)),
              at(merged.totals, g), 4);
      p.loop(p.i64(0), p.i64(dim), lanes, [&](Value d) {
        Value offset = p.mul(p.add(p.mul(g, dim), d), 4);
        Value to = p.at(merged.values, offset);
        Value sum = p.mulf(p.loadAsF32(p.f32Type(), to, lanes),
                           p.broadcast(keep, lanes));
        Value more = p.loadAsF32(p.f32Type(), p.at(span.values, offset), lanes);
        p.storeFromF32(p.fma(more, p.broadcast(take, lanes), sum), p.f32Type(),
                       to);
      });
    });
  });
  store(item, merged);
  p.restoreScratch(mark);
}

void DecodeAttention::emitSpans() {
  Value found =
      p.allocateShared(p.attr.getMaxRows() * heads * spans * sumsBytes());
  Value items = p.mul(in.count, heads);
  auto [begin, end] = p.share(p.mul(items, spans));
  p.loop(begin, end, 1, [&](Value index) {
    Item item = itemAt(p.div(index, spans));
    Value span = p.rem(index, spans), size = spanOf(lengthOf(item));
    Value first = p.mul(span, size);
    p.ifThen(p.less(first, lengthOf(item)), [&] {
      Sums sums = sumsAt(p.at(found, p.mul(index, sumsBytes())));
      beginItem(item);
      clear(sums);
      gather(sums, first, p.min(length, p.add(first, size)));
    });
  });
  p.wait();
  p.loop(p.thread, items, p.threads, [&](Value index) {
    mergeSpans(itemAt(index), p.at(found, p.mul(index, spans * sumsBytes())));
  });
}

void DecodeAttention::emit() {
  if (spans > 1)
    emitSpans();
  else
    p.loop(p.thread, p.mul(in.count, heads), p.threads,
           [&](Value index) { emitWhole(itemAt(index)); });
}

void sputnik::cpu::emitDecodeAttention(Phase &p, r1::RegionOp region,
                                       r1::AttentionOp attention) {
  int64_t mark = p.scratchMark();
  DecodeAttention(p, region, attention).emit();
  p.restoreScratch(mark);
}
