//===- AttentionKernel.cpp - Attention over the cache ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block takes one row and one KV head with all query heads of its group, so
// that each key and value is loaded once for all of them. Its warps take steps
// of 32 positions in turn: first a lane has a position and forms its scores,
// then a lane has some coordinates and sums up values. Softmax is online in
// each warp; warps, and blocks where several share the positions of a row, are
// brought together at the end, always in the same order.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/ByteCache.h"
#include "codegen/gpu/ByteRows.h"
#include "codegen/gpu/Region.h"

#include "llvm/Support/MathExtras.h"

#include <limits>
#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

constexpr int64_t kPanel = r1::KVCacheType::kPanel;
/// Positions that a warp takes at a time.
constexpr int64_t kStep = kWarp;
/// Fewest positions that are worth a block of their own.
constexpr int64_t kSplitPositions = 256;
/// Keys and values that are loaded before the first is used.
constexpr int64_t kUnroll = 8;

class AttentionKernel {
public:
  AttentionKernel(Kernel &k, r1::AttentionOp op)
      : k(k), op(op), cache(op.getCache().getType()), dim(cache.getDim()),
        group(cast<RankedTensorType>(op.getType()).getDimSize(1) /
              (cache.getHeads() * dim)),
        width(dim % 4 ? 1 : 4),
        chunks(llvm::divideCeil(dim, width * kWarp)) {}

  FailureOr<Grid> emit();

private:
  /// One warp's state: [group] maxima, [group] sums of its lanes, [group] x
  /// [chunks] vectors of weighted values.
  using State = SmallVector<Value>;
  State emitStep(Value step, ValueRange state);
  void loadQuery();
  SmallVector<Value> emitScores(Value position);
  SmallVector<Value> emitByteScores(Value position);
  Value loadValue(Value position, Value coordinate);
  void mergeWarps(ValueRange state);
  /// Sets of sums over different positions: [count][group] maxima and totals,
  /// [count][group][dim] weighted values.
  struct Sets {
    Value maxima, totals, values;
    int64_t count;
  };
  void merge(const Sets &sets, const Sets *into);
  void storeOutput(Value i, Value value);

  Type valueType() { return width == 1 ? k.f32Type() : k.f32Vec(width); }
  /// Coordinates that this lane has of a value in chunk `c`. Lanes that are
  /// left over do the last ones again.
  Value laneCoordinate(int64_t c) {
    return k.min(k.mul(k.add(k.lane, c * kWarp), width), k.i64(dim - width));
  }

  Kernel &k;
  r1::AttentionOp op;
  r1::KVCacheType cache;
  int64_t dim, group, width, chunks, splits = 1;

  Value row, head, split, length, keys, values;
  Value query;         // [group][dim] f32, scaled; of bytes [group][queryBytes].
  Value queryScales;   // [group][blocks] of bytes.
  Value probabilities; // [kStep] of each head of the group, this warp's.
  std::optional<ByteCache> byteCache; // Where the cache is quantized.
};

} // namespace

/// Bytes where the cache has them, as dot products of bytes need it.
void AttentionKernel::loadQuery() {
  Value from = k.at(k.rowPtr(k.rows(op.getQuery()), row),
                    k.mul(head, group * dim * 4));
  Value factor = k.f32(op.getScale().convertToFloat());
  auto element = [&](Value i) {
    return k.load(k.f32Type(), k.at(from, k.mul(i, 4)), 4);
  };
  if (!byteCache) {
    query = k.allocateShared(group * dim * 4);
    k.forEach(group * dim, [&](Value i) {
      k.store(k.mulf(element(i), factor), k.at(query, k.mul(i, 4)), 4);
    });
    return;
  }
  int64_t blocks = byteCache->keyBlocks();
  query = k.allocateShared(group * blocks * ByteCache::kBlock);
  queryScales = k.allocateShared(group * blocks * 4);
  roundBlocks(
      k, {group * blocks, ByteCache::kBlock,
          [&](Value block, Value feature) {
            Value d = k.add(k.mul(k.rem(block, blocks), ByteCache::kBlock),
                            feature);
            return k.ifThenElse(k.less(d, k.i64(dim)), {k.f32(0)}, [&] {
              return SmallVector<Value>{
                  element(k.add(k.mul(k.div(block, blocks), dim), d))};
            })[0];
          },
          [&](Value block, Value feature, Value byte) {
            k.store(byte,
                    k.at(query, k.add(k.mul(block, ByteCache::kBlock), feature)),
                    1);
          },
          [&](Value block, Value scale) {
            // Behind the rounding, which is that of CPUs then.
            k.store(k.mulf(scale, factor), k.at(queryScales, k.mul(block, 4)),
                    4);
          }});
}

/// As emitScores, by integer products of blocks.
SmallVector<Value> AttentionKernel::emitByteScores(Value position) {
  Type i32 = k.b.getI32Type();
  int64_t blocks = byteCache->keyBlocks();
  SmallVector<Value> sums(group, k.f32(0));
  auto addBlock = [&](Value block, int64_t words, ValueRange before) {
    SmallVector<Value> next(before), loaded;
    Value scale = k.load(k.f32Type(), byteCache->keyScale(position, block), 4);
    Value address = byteCache->keyWord(position, block);
    for (int64_t i = 0; i < words; ++i)
      loaded.push_back(
          k.load(i32, k.at(address, i * ByteCache::kKeyWordStride), 4));
    for (int64_t g = 0; g < group; ++g) {
      Value own = k.add(block, g * blocks), dot = k.i32(0);
      for (int64_t i = 0; i < words; i += 4) {
        Value q = k.load(k.vecType(4, i32),
                         k.at(query, k.add(k.mul(own, ByteCache::kBlock), 4 * i)),
                         16);
        for (int64_t j = 0; j < 4; ++j)
          dot = k.dot4(loaded[i + j],
                       LLVM::ExtractElementOp::create(k.b, k.loc, q, k.i32(j)),
                       dot);
      }
      Value product = arith::SIToFPOp::create(k.b, k.loc, k.f32Type(), dot);
      Value queryScale =
          k.load(k.f32Type(), k.at(queryScales, k.mul(own, 4)), 4);
      next[g] = k.fma(product, k.mulf(scale, queryScale), next[g]);
    }
    return next;
  };
  constexpr int64_t words = ByteCache::kBlock / 4;
  int64_t whole = dim / ByteCache::kBlock, rest = dim % ByteCache::kBlock / 4;
  sums = k.loop(k.i64(0), k.i64(whole), 1, sums,
                [&](Value block, ValueRange before) {
                  return addBlock(block, words, before);
                });
  return rest ? addBlock(k.i64(whole), rest, sums) : sums;
}

/// `width` coordinates of a value; of bytes without their scale.
Value AttentionKernel::loadValue(Value position, Value coordinate) {
  if (!byteCache) {
    Value index = k.add(k.mul(position, dim), coordinate);
    return k.loadAsF32(cache.getElement(),
                       k.at(values, k.mul(index, k.bytesOf(cache.getElement()))),
                       width);
  }
  Value word = k.load(k.b.getI32Type(), byteCache->value(position, coordinate), 4);
  Value four = LLVM::PoisonOp::create(k.b, k.loc, valueType());
  for (auto [i, value] : llvm::enumerate(bytesToFloats(k, word)))
    four = LLVM::InsertElementOp::create(k.b, k.loc, four, value,
                                         k.i32(static_cast<int32_t>(i)));
  return four;
}

/// q . k of this lane's position, for each head of the group.
SmallVector<Value> AttentionKernel::emitScores(Value position) {
  if (byteCache)
    return emitByteScores(position);
  int64_t bytes = k.bytesOf(cache.getElement());
  Value lane = k.add(k.mul(k.div(position, kPanel), kPanel * dim),
                     k.rem(position, kPanel));
  Value base = k.at(keys, k.mul(lane, bytes));
  int64_t unroll = std::gcd(dim, kUnroll);
  int64_t wide = std::gcd(dim, 4);
  SmallVector<Value> zeros(group, k.f32(0));
  return k.loop(
      k.i64(0), k.i64(dim), unroll, zeros, [&](Value d, ValueRange sums) {
        SmallVector<Value> next(sums), loaded;
        for (int64_t i = 0; i < unroll; ++i)
          loaded.push_back(k.loadAsF32(
              cache.getElement(),
              k.at(base, k.mul(k.add(d, i), kPanel * bytes))));
        for (int64_t g = 0; g < group; ++g)
          for (int64_t i = 0; i < unroll; i += wide) {
            Value at = k.at(query, k.mul(k.add(d, g * dim + i), 4));
            Type type = wide == 1 ? k.f32Type() : k.f32Vec(wide);
            Value q = k.load(type, at, 4 * wide);
            for (int64_t j = 0; j < wide; ++j) {
              Value one = wide == 1 ? q
                                    : Value(LLVM::ExtractElementOp::create(
                                          k.b, k.loc, q, k.i32(j)));
              next[g] = k.fma(one, loaded[i + j], next[g]);
            }
          }
        return next;
      });
}

AttentionKernel::State AttentionKernel::emitStep(Value step,
                                                 ValueRange state) {
  State next(state);
  Value first = k.mul(step, kStep);
  Value position = k.add(first, k.lane), lastOne = k.sub(length, k.i64(1));
  Value exists = k.less(position, length);
  Value own = k.min(position, lastOne);
  SmallVector<Value> scores = emitScores(own);
  Value valueScale;
  if (byteCache)
    valueScale = k.load(k.f32Type(), byteCache->valueScale(own), 4);
  for (int64_t g = 0; g < group; ++g) {
    Value score = k.select(exists, scores[g],
                           k.f32(-std::numeric_limits<float>::max()));
    Value &peak = next[g], &total = next[group + g];
    Value now = k.maxf(peak, k.warpMax(score));
    Value fade = k.exp(k.subf(peak, now));
    Value weight =
        k.select(exists, k.exp(k.subf(score, now)), k.f32(0.0f));
    k.store(byteCache ? k.mulf(weight, valueScale) : weight,
            k.at(probabilities, k.mul(k.add(k.lane, g * kStep), 4)), 4);
    total = k.fma(total, fade, weight);
    peak = now;
    for (int64_t c = 0; c < chunks; ++c) {
      Value &sum = next[2 * group + g * chunks + c];
      sum = k.mulf(sum, k.broadcast(fade, width));
    }
  }
  k.warpBarrier();
  SmallVector<Value> sums(ArrayRef(next).drop_front(2 * group));
  sums = k.loop(
      k.i64(0), k.i64(kStep), kUnroll, sums,
      [&](Value block, ValueRange carried) {
        SmallVector<Value> after(carried), loaded;
        for (int64_t i = 0; i < kUnroll; ++i)
          for (int64_t c = 0; c < chunks; ++c) {
            Value at = k.min(k.add(first, k.add(block, i)), lastOne);
            loaded.push_back(loadValue(at, laneCoordinate(c)));
          }
        for (int64_t g = 0; g < group; ++g)
          for (int64_t i = 0; i < kUnroll; ++i) {
            Value weight = k.load(
                k.f32Type(),
                k.at(probabilities,
                     k.mul(k.add(block, g * kStep + i), 4)),
                4);
            for (int64_t c = 0; c < chunks; ++c) {
              Value &sum = after[g * chunks + c];
              sum = k.fma(loaded[i * chunks + c],
                          k.broadcast(weight, width), sum);
            }
          }
        return after;
      });
  llvm::copy(sums, next.begin() + 2 * group);
  k.warpBarrier();
  return next;
}

void AttentionKernel::storeOutput(Value i, Value value) {
  const Rows &out =
      k.rows(k.region.getBody().front().getTerminator()->getOperand(0));
  Value feature = k.add(k.mul(head, group * dim), i);
  k.storeFromF32(value, out.element,
                 k.at(k.rowPtr(out, row),
                      k.mul(feature, k.bytesOf(out.element))));
}

/// Brings sets of sums together: to one more set, or to the output.
void AttentionKernel::merge(const Sets &sets, const Sets *into) {
  k.forEach(group * dim, [&](Value i) {
    Value g = k.div(i, dim);
    auto at = [&](Value base, Value set) {
      return k.at(base, k.mul(k.add(k.mul(set, group), g), 4));
    };
    auto each = [&](ValueRange start,
                    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
      return k.loop(k.i64(0), k.i64(sets.count), 1, start, body);
    };
    Value peak = each({k.f32(-std::numeric_limits<float>::max())},
                      [&](Value set, ValueRange m) -> SmallVector<Value> {
                        return {k.maxf(m[0], k.load(k.f32Type(),
                                                    at(sets.maxima, set), 4))};
                      })[0];
    SmallVector<Value> sums =
        each({k.f32(0), k.f32(0)}, [&](Value set, ValueRange before) {
          Value weight = k.exp(
              k.subf(k.load(k.f32Type(), at(sets.maxima, set), 4), peak));
          Value total = k.load(k.f32Type(), at(sets.totals, set), 4);
          Value value = k.load(
              k.f32Type(),
              k.at(sets.values,
                   k.mul(k.add(k.mul(set, group * dim), i), 4)),
              4);
          return SmallVector<Value>{k.fma(total, weight, before[0]),
                                    k.fma(value, weight, before[1])};
        });
    if (!into) {
      storeOutput(i, k.divf(sums[1], sums[0]));
      return;
    }
    k.store(sums[1], k.at(into->values, k.mul(i, 4)), 4);
    k.ifThen(k.equal(k.rem(i, dim), k.i64(0)), [&] {
      k.store(peak, k.at(into->maxima, k.mul(g, 4)), 4);
      k.store(sums[0], k.at(into->totals, k.mul(g, 4)), 4);
    });
  });
}

void AttentionKernel::mergeWarps(ValueRange state) {
  Sets warps{k.allocateShared(kWarps * group * 4),
             k.allocateShared(kWarps * group * 4),
             k.allocateShared(kWarps * group * dim * 4), kWarps};
  for (int64_t g = 0; g < group; ++g) {
    Value total = k.warpSum(state[group + g]);
    Value index = k.add(k.mul(k.warp, group), g);
    k.ifThen(k.equal(k.lane, k.i64(0)), [&] {
      k.store(state[g], k.at(warps.maxima, k.mul(index, 4)), 4);
      k.store(total, k.at(warps.totals, k.mul(index, 4)), 4);
    });
    for (int64_t c = 0; c < chunks; ++c) {
      Value own = k.mul(k.add(k.lane, c * kWarp), width);
      k.ifThen(k.less(own, k.i64(dim)), [&] {
        Value at = k.add(k.mul(index, dim), own);
        k.store(state[2 * group + g * chunks + c],
                k.at(warps.values, k.mul(at, 4)), 4 * width);
      });
    }
  }
  k.barrier();
  if (splits == 1) {
    merge(warps, nullptr);
    return;
  }
  int64_t heads = cache.getHeads(), setBytes = group * 4;
  int64_t pieces = k.phase.getMaxRows() * heads;
  Value piece = k.add(k.mul(row, heads), head);
  Value firstSet = k.mul(piece, splits);
  auto area = [&](int64_t bytes) {
    return k.at(k.allocateWorkspace(pieces * splits * bytes),
                k.mul(firstSet, bytes));
  };
  Sets blocks{area(setBytes), area(setBytes), area(setBytes * dim), splits};
  Sets own{k.at(blocks.maxima, k.mul(split, setBytes)),
           k.at(blocks.totals, k.mul(split, setBytes)),
           k.at(blocks.values, k.mul(split, setBytes * dim)), 1};
  merge(warps, &own);
  k.ifThen(k.arriveLast(k.counter(piece), splits),
           [&] { merge(blocks, nullptr); });
}

FailureOr<Grid> AttentionKernel::emit() {
  int64_t heads = cache.getHeads();
  // Decode and verify split alike, for their results to be the same.
  if (k.phase.getKind() != r1::PhaseKind::Prefill &&
      heads * k.phase.getMaxRows() <= kCounters)
    splits = chooseSplits(k.target, heads,
                          cache.getPositions() / kSplitPositions);
  row = k.rowTile;
  head = k.div(k.block, splits);
  split = k.rem(k.block, splits);
  keys = k.cacheHeadPtr(cache, k.index(op.getSlots(), row), op.getLayer(),
                        head);
  values = k.at(keys, cache.getKeyBytes());
  length = k.add(k.index(op.getPositions(), row), 1);

  if (cache.isQuantized())
    byteCache.emplace(k, cache, keys);
  loadQuery();
  int64_t stepBytes = group * kStep * 4;
  probabilities = k.at(k.allocateShared(kWarps * stepBytes),
                       k.mul(k.warp, stepBytes));
  k.barrier();

  State state(group, k.f32(-std::numeric_limits<float>::max()));
  state.append(group, k.f32(0));
  state.append(group * chunks, k.splat(valueType(), 0));
  Value steps = k.ceilDiv(length, kStep);
  Value begin = k.div(k.mul(split, steps), splits);
  Value end = k.div(k.mul(k.add(split, 1), steps), splits);
  state = k.loop(k.add(begin, k.warp), end, kWarps, state,
                 [&](Value step, ValueRange before) {
                   return emitStep(step, before);
                 });
  mergeWarps(state);
  return Grid{heads * splits, 1};
}

FailureOr<Grid> sputnik::gpu::emitAttention(Kernel &k,
                                            r1::AttentionOp attention) {
  return AttentionKernel(k, attention).emit();
}
