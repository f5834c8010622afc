//===- FlashAttention.cpp - Prefill's attention on the tensor cores -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block takes one KV head and a tile of rows, each with all query heads of
// the group: kQueries queries, 16 for each warp, whose fragments and sums stay
// in registers. Keys and values of kPositions positions at a time are copied to
// shared memory while the ones before are used. Softmax is online, its weights
// are rounded to bf16 for the product with values.
//
// Rows of a tile may belong to several conversations: consecutive rows of one
// slot are a run, and the block goes through the cache once for each run.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/Region.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

constexpr int64_t kQueries = 16 * kWarps;
constexpr int64_t kPositions = 64;
constexpr int64_t kPanel = r1::KVCacheType::kPanel;
constexpr int64_t kStages = 2;
/// Eight columns of a product, and positions or coordinates of one load.
constexpr int64_t kGroup = 8, kLoad = 16;
constexpr int64_t kGroups = kPositions / kGroup;

class FlashAttention {
public:
  FlashAttention(Kernel &k, r1::AttentionOp op)
      : k(k), op(op), cache(op.getCache().getType()), dim(cache.getDim()),
        group(cast<RankedTensorType>(op.getType()).getDimSize(1) /
              (cache.getHeads() * dim)),
        tokens(kQueries / group), tileBytes(kPositions * dim * 2) {}

  Grid emit();

private:
  /// Maxima and totals of this lane's two queries, then [dim / 8][4] sums.
  using State = SmallVector<Value>;
  struct Run {
    Value begin, end, length; ///< Rows of the tile; positions.
    Value keys, values;
  };
  void loadQueries();
  State emitRuns(State state);
  State emitRun(const Run &run, ValueRange state);
  void startCopies(const Run &run, Value step);
  State emitStep(const Run &run, Value step, ValueRange state);
  SmallVector<Value> emitScores(Value keys);
  void addValues(Value values, ArrayRef<Value> weights,
                 MutableArrayRef<Value> sums);
  void storeOutput(ValueRange state);

  Value lowest() { return k.f32(-std::numeric_limits<float>::max()); }
  Value exp2(Value x) { return math::Exp2Op::create(k.b, k.loc, x); }
  Value row(Value token) {
    return k.min(k.add(firstRow, token), k.sub(k.rowCount, k.i64(1)));
  }
  /// Where 16 bytes of keys of coordinate `d`, of values of a position lie.
  Value placeOfKeys(Value d, Value half);
  Value placeOfValues(Value position, Value piece);
  /// The maximum, or sum, over the four lanes that share a query.
  Value quadMax(Value x) {
    x = k.maxf(x, k.shuffleXor(x, 1));
    return k.maxf(x, k.shuffleXor(x, 2));
  }
  Value quadSum(Value x) {
    x = k.addf(x, k.shuffleXor(x, 1));
    return k.addf(x, k.shuffleXor(x, 2));
  }

  Kernel &k;
  r1::AttentionOp op;
  r1::KVCacheType cache;
  int64_t dim, group, tokens, tileBytes;

  Value firstRow, head, stages;
  /// Of this lane's two queries: row of the tile, query head of the group,
  /// position.
  Value token[2], member[2], position[2];
  SmallVector<Value> queries; ///< [dim / 16] left operands.
};

} // namespace

bool sputnik::gpu::isFlashAttention(r1::PhaseAttr phase, r1::AttentionOp op) {
  r1::KVCacheType cache = op.getCache().getType();
  int64_t group = cast<RankedTensorType>(op.getType()).getDimSize(1) /
                  (cache.getHeads() * cache.getDim());
  return phase.getKind() == r1::PhaseKind::Prefill &&
         cache.getElement().isBF16() && cache.getDim() % kLoad == 0 &&
         group <= kQueries;
}

static Value exclusiveOr(Kernel &k, Value a, Value c) {
  return k.b.createOrFold<arith::XOrIOp>(k.loc, a, c);
}

/// Keys lie as [panel][dim][16 positions]: eight coordinates that are read
/// together are 32 bytes apart.
Value FlashAttention::placeOfKeys(Value d, Value half) {
  Value moved = exclusiveOr(k, half, k.rem(k.div(d, 4), 2));
  return k.add(k.mul(d, kPanel * 2), k.mul(moved, 16));
}

/// Values lie as [position][dim]: eight positions are read together.
Value FlashAttention::placeOfValues(Value position, Value piece) {
  int64_t pieces = dim / kGroup;
  int64_t swapped = std::min<int64_t>(pieces & -pieces, 8);
  Value moved = exclusiveOr(k, piece, k.rem(position, swapped));
  return k.add(k.mul(position, dim * 2), k.mul(moved, 16));
}

void FlashAttention::loadQueries() {
  Value place = k.rem(k.lane, 4);
  Value from[2];
  for (int64_t i = 0; i < 2; ++i) {
    Value query = k.add(k.add(k.mul(k.warp, 16), k.div(k.lane, 4)), 8 * i);
    token[i] = k.div(query, group);
    member[i] = k.rem(query, group);
    Value own = row(token[i]);
    position[i] = k.index(op.getPositions(), own);
    Value feature = k.mul(k.add(k.mul(head, group), member[i]), dim);
    from[i] = k.at(k.rowPtr(k.rows(op.getQuery()), own), k.mul(feature, 4));
  }
  for (int64_t d = 0; d < dim; d += kLoad)
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

void FlashAttention::startCopies(const Run &run, Value step) {
  Value stage = k.at(stages, k.mul(k.rem(step, kStages), 2 * tileBytes));
  Value first = k.mul(step, kPositions);
  // Whatever lies behind the last position must not be a NaN.
  auto bytesAt = [&](Value position) {
    return k.select(k.less(position, run.length), k.i64(16), k.i64(0));
  };
  Value tile = k.mul(step, tileBytes);
  k.forEach(tileBytes / 16, [&](Value piece) {
    Value offset = k.mul(piece, 16);
    Value panel = k.div(piece, dim * 2), d = k.div(piece, 2);
    k.copyAsync(k.at(stage, placeOfKeys(d, k.rem(piece, 2))),
                k.at(run.keys, k.add(tile, offset)),
                bytesAt(k.add(first, k.mul(panel, kPanel))));
    Value position = k.div(piece, dim / kGroup);
    Value place = placeOfValues(position, k.rem(piece, dim / kGroup));
    k.copyAsync(k.at(stage, k.add(place, tileBytes)),
                k.at(run.values, k.add(tile, offset)),
                bytesAt(k.add(first, position)));
  });
}

/// [kGroups][4] products of the queries with a tile of keys.
SmallVector<Value> FlashAttention::emitScores(Value keys) {
  SmallVector<Value> scores(4 * kGroups, k.f32(0));
  Value matrix = k.div(k.lane, 8), inMatrix = k.rem(k.lane, 8);
  for (int64_t d = 0; d < dim; d += kLoad)
    for (int64_t panel = 0; panel < kPositions / kPanel; ++panel) {
      Value coordinate = k.add(k.add(k.mul(k.rem(matrix, 2), 8), inMatrix), d);
      Value place = placeOfKeys(coordinate, k.div(matrix, 2));
      SmallVector<Value> loaded =
          k.loadMatrices(k.at(keys, k.add(place, panel * dim * kPanel * 2)),
                         /*transposed=*/true);
      for (int64_t half = 0; half < 2; ++half) {
        auto sums = MutableArrayRef(scores).slice(4 * (2 * panel + half), 4);
        llvm::copy(k.multiplyMatrices(ArrayRef(queries).slice(d / kLoad * 4, 4),
                                      ArrayRef(loaded).slice(2 * half, 2),
                                      sums),
                   sums.begin());
      }
    }
  return scores;
}

/// Adds a tile's values, weighted by [kGroups][4] weights.
void FlashAttention::addValues(Value values, ArrayRef<Value> weights,
                               MutableArrayRef<Value> sums) {
  Value matrix = k.div(k.lane, 8), inMatrix = k.rem(k.lane, 8);
  for (int64_t step = 0; step < kPositions / kLoad; ++step) {
    ArrayRef<Value> own = weights.slice(8 * step, 8);
    SmallVector<Value> left;
    for (int64_t i = 0; i < 8; i += 2)
      left.push_back(k.packPair(own[i], own[i + 1]));
    Value at = k.add(k.add(k.mul(k.rem(matrix, 2), 8), inMatrix), step * kLoad);
    for (int64_t d = 0; d < dim; d += kLoad) {
      Value piece = k.add(k.div(matrix, 2), d / kGroup);
      SmallVector<Value> loaded = k.loadMatrices(
          k.at(values, placeOfValues(at, piece)), /*transposed=*/true);
      for (int64_t half = 0; half < 2; ++half) {
        auto target = sums.slice(4 * (d / kGroup + half), 4);
        llvm::copy(k.multiplyMatrices(left, ArrayRef(loaded).slice(2 * half, 2),
                                      target),
                   target.begin());
      }
    }
  }
}

FlashAttention::State FlashAttention::emitStep(const Run &run, Value step,
                                               ValueRange before) {
  State state(before);
  Value stage = k.at(stages, k.mul(k.rem(step, kStages), 2 * tileBytes));
  SmallVector<Value> scores = emitScores(stage);
  // Powers of two are what the hardware has.
  Value scale = k.f32(op.getScale().convertToFloat() * 1.44269504f);
  SmallVector<Value> seen(scores.size());
  Value inRun[2];
  for (int64_t i = 0; i < 2; ++i)
    inRun[i] = k.both(k.less(k.sub(run.begin, k.i64(1)), token[i]),
                      k.less(token[i], run.end));
  Value first = k.add(k.mul(step, kPositions), k.mul(k.rem(k.lane, 4), 2));
  Value peaks[2] = {state[0], state[1]};
  for (int64_t n = 0; n < kGroups; ++n)
    for (int64_t i = 0; i < 4; ++i) {
      Value at = k.add(first, n * kGroup + i % 2);
      Value &score = scores[4 * n + i];
      seen[4 * n + i] =
          k.both(inRun[i / 2], k.less(at, k.add(position[i / 2], 1)));
      score = k.select(seen[4 * n + i], k.mulf(score, scale), lowest());
      peaks[i / 2] = k.maxf(peaks[i / 2], score);
    }
  Value fade[2];
  for (int64_t i = 0; i < 2; ++i) {
    peaks[i] = quadMax(peaks[i]);
    fade[i] = exp2(k.subf(state[i], peaks[i]));
    state[i] = peaks[i];
    state[2 + i] = k.mulf(state[2 + i], fade[i]);
  }
  for (auto [n, score] : llvm::enumerate(scores)) {
    int64_t i = n % 4 / 2;
    score = k.select(seen[n], exp2(k.subf(score, peaks[i])), k.f32(0.0f));
    state[2 + i] = k.addf(state[2 + i], score);
  }
  auto sums = MutableArrayRef(state).drop_front(4);
  for (auto [n, sum] : llvm::enumerate(sums))
    sum = k.mulf(sum, fade[n % 4 / 2]);
  addValues(k.at(stage, tileBytes), scores, sums);
  return state;
}

FlashAttention::State FlashAttention::emitRun(const Run &run,
                                              ValueRange state) {
  auto start = [&](Value step, Value steps) {
    k.ifThen(k.less(step, steps), [&] { startCopies(run, step); });
    k.commitCopies();
  };
  Value steps = k.ceilDiv(run.length, kPositions);
  // The run before may still be read.
  k.barrier();
  start(k.i64(0), steps);
  return k.loop(k.i64(0), steps, 1, state, [&](Value step, ValueRange before) {
    k.waitForCopies(0);
    k.barrier();
    start(k.add(step, 1), steps);
    return emitStep(run, step, before);
  });
}

FlashAttention::State FlashAttention::emitRuns(State state) {
  Value count = k.min(k.sub(k.rowCount, firstRow), k.i64(tokens));
  SmallVector<Value> carried = {k.i64(0), k.i64(0)};
  llvm::append_range(carried, state);
  carried =
      k.loop(k.i64(0), count, 1, carried, [&](Value t, ValueRange before) {
        Value next = k.add(t, 1);
        Value slot = k.index(op.getSlots(), row(t));
        Value length = arith::MaxSIOp::create(
            k.b, k.loc, before[1],
            k.add(k.index(op.getPositions(), row(t)), 1));
        Value same = k.both(k.less(next, count),
                            k.equal(k.index(op.getSlots(), row(next)), slot));
        Value ends = arith::XOrIOp::create(k.b, k.loc, same,
                                           k.splat(k.b.getI1Type(), 1));
        ValueRange old = before.drop_front(2);
        SmallVector<Value> now = k.ifThenElse(ends, old, [&] {
          Value keys = k.cacheHeadPtr(cache, slot, op.getLayer(), head);
          return emitRun(
              {before[0], next, length, keys, k.at(keys, cache.getKeyBytes())},
              old);
        });
        SmallVector<Value> after = {k.select(ends, next, before[0]),
                                    k.select(ends, k.i64(0), length)};
        llvm::append_range(after, now);
        return after;
      });
  return State(ArrayRef(carried).drop_front(2));
}

void FlashAttention::storeOutput(ValueRange state) {
  const Rows &out =
      k.rows(k.region.getBody().front().getTerminator()->getOperand(0));
  for (int64_t i = 0; i < 2; ++i) {
    Value inverse = k.divf(k.f32(1), quadSum(state[2 + i]));
    Value exists = k.both(k.less(token[i], k.i64(tokens)),
                          k.less(k.add(firstRow, token[i]), k.rowCount));
    k.ifThen(exists, [&] {
      Value base = k.rowPtr(out, k.add(firstRow, token[i]));
      Value first = k.add(k.mul(k.add(k.mul(head, group), member[i]), dim),
                          k.mul(k.rem(k.lane, 4), 2));
      for (int64_t n = 0; n < dim / kGroup; ++n)
        for (int64_t j = 0; j < 2; ++j) {
          Value sum = state[4 + 4 * n + 2 * i + j];
          Value feature = k.add(first, n * kGroup + j);
          k.storeFromF32(k.mulf(sum, inverse), out.element,
                         k.at(base, k.mul(feature, k.bytesOf(out.element))));
        }
    });
  }
}

Grid FlashAttention::emit() {
  head = k.block;
  firstRow = k.mul(k.rowTile, tokens);
  stages = k.allocateShared(kStages * 2 * tileBytes);
  loadQueries();
  State state(2, lowest());
  state.append(2 + dim / kGroup * 4, k.f32(0));
  storeOutput(emitRuns(state));
  return {cache.getHeads(), tokens};
}

FailureOr<Grid> sputnik::gpu::emitFlashAttention(Kernel &k,
                                                 r1::AttentionOp op) {
  return FlashAttention(k, op).emit();
}
