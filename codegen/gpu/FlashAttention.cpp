//===- FlashAttention.cpp - Prefill's attention on the tensor cores -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block has the queries of a QueryTile, whose fragments and sums stay in
// registers. Keys and values of kPositions positions at a time are copied to
// shared memory while the ones before are used. Weights are rounded to bf16 for
// the product with values.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/ByteCache.h"
#include "codegen/gpu/ByteRows.h"
#include "codegen/gpu/QueryTile.h"
#include "codegen/gpu/Region.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

constexpr int64_t kPositions = 64;
constexpr int64_t kPanel = r1::KVCacheType::kPanel;
constexpr int64_t kStages = 2;
/// Eight columns of a product, and positions or coordinates of one load.
constexpr int64_t kGroup = 8, kLoad = 16;
constexpr int64_t kGroups = kPositions / kGroup;

class FlashAttention {
public:
  FlashAttention(Kernel &k, r1::AttentionOp op)
      : k(k), tile(k, op), cache(op.getCache().getType()), dim(cache.getDim()),
        tileBytes(kPositions * dim * 2) {}

  Grid emit();

private:
  using Run = QueryTile::Run;
  /// Of the softmax, then [dim / 8][4] sums.
  using State = SmallVector<Value>;
  State emitRun(const Run &run, ValueRange state);
  void startCopies(const Run &run, Value step);
  void convertBytes(const Run &run, Value step);
  State emitStep(const Run &run, Value step, ValueRange state);
  SmallVector<Value> emitScores(Value keys);
  void addValues(Value values, ArrayRef<Value> weights,
                 MutableArrayRef<Value> sums);

  /// Where 16 bytes of keys of coordinate `d`, of values of a position lie.
  Value placeOfKeys(Value d, Value half);
  Value placeOfValues(Value position, Value piece);

  Kernel &k;
  QueryTile tile;
  r1::KVCacheType cache;
  int64_t dim, tileBytes;

  Value stages;
};

} // namespace

bool sputnik::gpu::isFlashAttention(r1::PhaseAttr phase, r1::AttentionOp op) {
  r1::KVCacheType cache = op.getCache().getType();
  return phase.getKind() == r1::PhaseKind::Prefill &&
         (cache.getElement().isBF16() || cache.isQuantized()) &&
         cache.getDim() % kLoad == 0 &&
         QueryTile::countGroup(op) <= QueryTile::kQueries;
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

void FlashAttention::startCopies(const Run &run, Value step) {
  Value stage = k.at(stages, k.mul(k.rem(step, kStages), 2 * tileBytes));
  Value first = k.mul(step, kPositions);
  // Whatever lies behind the last position must not be a NaN.
  auto bytesAt = [&](Value position) {
    return k.select(k.less(position, run.length), k.i64(16), k.i64(0));
  };
  Value inCache = k.mul(step, tileBytes);
  k.forEach(tileBytes / 16, [&](Value piece) {
    Value offset = k.mul(piece, 16);
    Value panel = k.div(piece, dim * 2), d = k.div(piece, 2);
    k.copyAsync(k.at(stage, placeOfKeys(d, k.rem(piece, 2))),
                k.at(run.keys, k.add(inCache, offset)),
                bytesAt(k.add(first, k.mul(panel, kPanel))));
    Value position = k.div(piece, dim / kGroup);
    Value place = placeOfValues(position, k.rem(piece, dim / kGroup));
    k.copyAsync(k.at(stage, k.add(place, tileBytes)),
                k.at(run.values, k.add(inCache, offset)),
                bytesAt(k.add(first, position)));
  });
}

/// What startCopies does, from a cache of bytes: they are rounded to bf16 on the
/// way.
void FlashAttention::convertBytes(const Run &run, Value step) {
  ByteCache from(k, cache, run.keys);
  Value stage = k.at(stages, k.mul(k.rem(step, kStages), 2 * tileBytes));
  Value first = k.mul(step, kPositions), last = k.sub(run.length, k.i64(1));
  auto element = [&](Value vector, int64_t i) -> Value {
    return LLVM::ExtractElementOp::create(k.b, k.loc, vector, k.i32(i));
  };
  // What lies behind the last position becomes zero.
  auto scaleOf = [&](Value scale, Value position) {
    return k.select(k.less(position, run.length), scale, k.f32(0));
  };
  auto storeEight = [&](ArrayRef<Value> values, Value place) {
    Value words = LLVM::PoisonOp::create(k.b, k.loc,
                                         k.vecType(4, k.b.getI32Type()));
    for (int64_t i = 0; i < 4; ++i)
      words = LLVM::InsertElementOp::create(
          k.b, k.loc, words, k.packPair(values[2 * i], values[2 * i + 1]),
          k.i32(i));
    k.store(words, k.at(stage, place), 16);
  };
  // Four coordinates of eight positions.
  int64_t words = dim / 4;
  k.forEach(kPositions / kGroup * words, [&](Value item) {
    Value group = k.div(item, words), word = k.rem(item, words);
    Value position = k.add(first, k.mul(group, kGroup));
    Value present = k.min(position, k.mul(k.div(last, kGroup), kGroup));
    Value block = k.div(word, ByteCache::kBlock / 4);
    Value scales = from.keyScale(present, block);
    Value quants =
        k.at(from.keyWord(present, block),
             k.mul(k.rem(word, ByteCache::kBlock / 4),
                   ByteCache::kKeyWordStride));
    SmallVector<Value> columns[4];
    for (int64_t i = 0; i < kGroup; i += 4) {
      Value four = k.load(k.f32Vec(4), k.at(scales, 4 * i), 16);
      Value keys = k.load(k.vecType(4, k.b.getI32Type()), k.at(quants, 4 * i),
                          16);
      for (int64_t j = 0; j < 4; ++j) {
        Value scale = scaleOf(element(four, j), k.add(position, i + j));
        for (auto [column, value] :
             llvm::zip_equal(columns, bytesToFloats(k, element(keys, j))))
          column.push_back(k.mulf(value, scale));
      }
    }
    Value panel = k.div(group, kPanel / kGroup);
    Value d = k.add(k.mul(panel, dim), k.mul(word, 4));
    for (auto [i, column] : llvm::enumerate(columns))
      storeEight(column, placeOfKeys(k.add(d, i),
                                     k.rem(group, kPanel / kGroup)));
  });
  // Eight coordinates of a position.
  k.forEach(kPositions * dim / kGroup, [&](Value item) {
    Value inTile = k.div(item, dim / kGroup), piece = k.rem(item, dim / kGroup);
    Value position = k.add(first, inTile), present = k.min(position, last);
    Value scale = scaleOf(
        k.load(k.f32Type(), from.valueScale(present), 4), position);
    Value pair = k.load(k.vecType(2, k.b.getI32Type()),
                        from.value(present, k.mul(piece, kGroup)), 8);
    SmallVector<Value> values;
    for (int64_t i = 0; i < 2; ++i)
      for (Value value : bytesToFloats(k, element(pair, i)))
        values.push_back(k.mulf(value, scale));
    storeEight(values, k.add(placeOfValues(inTile, piece), tileBytes));
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
        llvm::copy(k.multiplyMatrices(tile.operand(d / kLoad),
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
    SmallVector<Value> left = tile.pack(weights.slice(8 * step, 8));
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
  auto own = MutableArrayRef(state).take_front(QueryTile::kState);
  auto sums = MutableArrayRef(state).drop_front(QueryTile::kState);
  tile.fade(sums, tile.weigh(run, k.mul(step, kPositions), scores, own));
  addValues(k.at(stage, tileBytes), scores, sums);
  return state;
}

FlashAttention::State FlashAttention::emitRun(const Run &run,
                                              ValueRange state) {
  auto start = [&](Value step, Value steps) {
    k.ifThen(k.less(step, steps), [&] {
      if (cache.isQuantized())
        convertBytes(run, step);
      else
        startCopies(run, step);
    });
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

Grid FlashAttention::emit() {
  stages = k.allocateShared(kStages * 2 * tileBytes);
  tile.load();
  State state = tile.begin();
  state.append(dim / kGroup * 4, k.f32(0));
  state = tile.forRuns(state, [&](const Run &run, ValueRange before) {
    return emitRun(run, before);
  });
  tile.store(ArrayRef(state).take_front(QueryTile::kState),
             ArrayRef(state).drop_front(QueryTile::kState));
  return {cache.getHeads(), tile.getRows()};
}

FailureOr<Grid> sputnik::gpu::emitFlashAttention(Kernel &k,
                                                 r1::AttentionOp op) {
  return FlashAttention(k, op).emit();
}
