//===- LatentTiles.cpp - Attention over latents on the tensor cores -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// With many heads on one latent for each position, scores are a product of
// matrices, and so are the weighted sums. A block has some heads of a row, whose
// queries lie in shared memory, and goes through its share of the positions: the
// latents of some at a time, copied while the ones before are used. For the
// scores, warps have 16 heads and some of the positions; for the sums, all heads
// and some of the coordinates. Softmax is online; heads' weights, rounded to
// bf16, change hands in shared memory.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/LatentWork.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// Rows of the left operand of a product, coordinates of a load; columns of the
/// right operand.
constexpr int64_t kTile = 16, kGroup = 8;
constexpr int64_t kStages = 2;

class LatentTiles {
public:
  LatentTiles(Kernel &k, r1::LatentAttentionOp op, const LatentWork &work)
      : k(k), op(op), work(work), cache(op.getCache().getType()),
        heads(work.blockHeads) {
    choosePositions();
  }

  Grid emit();

private:
  /// Maxima and totals of this lane's two heads, then sums
  /// [16 heads][16 coordinates][2 groups][4].
  using State = SmallVector<Value>;
  void choosePositions();
  /// Starts to copy `count` rows of `dim` coordinates to `to`; `rowAt` gives
  /// where one lies and whether there is such a row.
  void copyRows(Value to, int64_t count,
                function_ref<std::pair<Value, Value>(Value)> rowAt);
  void startCopies(Value step);
  Value stageAt(Value step) {
    return k.at(stages, k.mul(k.rem(step, kStages),
                              positions * work.dim * 2));
  }
  State emitStep(Value step, ValueRange state);
  SmallVector<Value> emitScores(Value latents);
  SmallVector<Value> addLatents(Value latents, ValueRange sums);
  void storeSets(ValueRange state, Value split);

  /// Where 16 bytes of a row of `pieces` such lie: rows that are read together
  /// are in other banks. Constant parts of the numbers, multiples of 8 and of 2,
  /// stand by themselves, so that they end in the instructions.
  Value place(Value row, int64_t firstRow, Value piece, int64_t firstPiece,
              int64_t pieces);
  /// The four fragments of a left operand: 16 rows by 16 columns.
  SmallVector<Value> loadLeft(Value base, Value row, int64_t firstRow,
                              Value piece, int64_t firstPiece, int64_t pieces);
  Value lowest() { return k.f32(-std::numeric_limits<float>::max()); }
  Value exp2(Value x) { return math::Exp2Op::create(k.b, k.loc, x); }
  /// The head in this block of this lane's row i of warp's 16.
  Value headOf(Value first, int64_t i) {
    return k.add(first, k.add(k.div(lane, 4), 8 * i));
  }
  /// [sharers][heads] f32, of warps that share 16 heads.
  Value sharedOf(Value sharer, Value head) {
    return k.at(shared, k.mul(k.add(k.mul(sharer, heads), head), 4));
  }
  /// Gives all warps that share 16 heads what each found of this lane's two.
  void exchange(ArrayRef<Value> values);
  /// Coordinates that this warp sums: the n-th 16.
  Value coordinates(int64_t n) {
    Value group = k.add(k.warp, n * kWarps);
    return k.mul(k.min(group, k.i64(work.latent / kTile - 1)), kTile);
  }

  Kernel &k;
  r1::LatentAttentionOp op;
  const LatentWork &work;
  r1::KVCacheType cache;
  int64_t heads, positions;
  int64_t sharers;    ///< Warps that share 16 heads.
  int64_t ownGroups;  ///< Groups of eight positions of a warp.
  int64_t ownColumns; ///< Times 16 coordinates that a warp sums.

  Value lane; ///< In a step, one that nothing outside depends on.
  Value firstHead, ownHead, sharer, length, layer;
  Value queries, stages, weights, shared, fades;
};

} // namespace

void LatentTiles::choosePositions() {
  int64_t rowBytes = work.dim * 2;
  positions = 64;
  while (positions > 16 &&
         heads * rowBytes + kStages * positions * rowBytes +
                 heads * positions * 2 + 2 * kWarps * kTile * 4 + heads * 4 >
             k.target.getL1())
    positions /= 2;
  sharers = kWarps / (heads / kTile);
  // Pairs of groups come with one load.
  ownGroups = std::max<int64_t>(2, positions / kGroup / sharers);
  ownColumns = llvm::divideCeil(work.latent, kTile * kWarps);
}

Value LatentTiles::place(Value row, int64_t firstRow, Value piece,
                         int64_t firstPiece, int64_t pieces) {
  int64_t swapped = std::min<int64_t>(pieces & -pieces, 8);
  Value moved = k.b.createOrFold<arith::XOrIOp>(
      k.loc, k.add(piece, firstPiece % swapped), k.rem(row, swapped));
  Value own = k.mul(k.add(k.mul(row, pieces), moved), 16);
  return k.add(own, (firstRow * pieces + firstPiece / swapped * swapped) * 16);
}

void LatentTiles::copyRows(
    Value to, int64_t count,
    function_ref<std::pair<Value, Value>(Value)> rowAt) {
  int64_t pieces = work.dim / kGroup;
  k.forEach(count * pieces, [&](Value i) {
    Value row = k.div(i, pieces), piece = k.rem(i, pieces);
    auto [from, exists] = rowAt(row);
    k.copyAsync(k.at(to, place(row, 0, piece, 0, pieces)),
                k.at(from, k.mul(piece, 16)),
                k.select(exists, k.i64(16), k.i64(0)));
  });
}

void LatentTiles::startCopies(Value step) {
  Value first = k.mul(step, positions);
  // Whatever lies behind the last position must not be a NaN.
  copyRows(stageAt(step), positions, [&](Value row) {
    Value position = k.add(first, row);
    return std::pair(k.at(layer, k.mul(position, work.dim * 2)),
                     k.less(position, length));
  });
}

SmallVector<Value> LatentTiles::loadLeft(Value base, Value row,
                                         int64_t firstRow, Value piece,
                                         int64_t firstPiece, int64_t pieces) {
  return k.loadMatrices(k.at(
      base, place(k.add(row, k.rem(lane, kTile)), firstRow,
                  k.add(piece, k.div(lane, kTile)), firstPiece, pieces)));
}

/// [ownGroups][4] products of this warp's heads and positions.
SmallVector<Value> LatentTiles::emitScores(Value latents) {
  int64_t pieces = work.dim / kGroup;
  Value inPair = k.add(k.mul(k.div(lane, kTile), kGroup),
                       k.rem(lane, kGroup));
  Value row = k.add(k.mul(sharer, ownGroups * kGroup), inPair);
  Value inTile = k.rem(k.div(lane, kGroup), 2);
  auto multiply = [&](Value offset, int64_t piece, MutableArrayRef<Value> sums) {
    SmallVector<Value> left =
        loadLeft(k.at(queries, offset), ownHead, 0, k.i64(0), piece, pieces);
    for (int64_t n = 0; n < ownGroups; n += 2) {
      SmallVector<Value> loaded = k.loadMatrices(
          k.at(k.at(latents, offset),
               place(row, n * kGroup, inTile, piece, pieces)));
      for (int64_t half = 0; half < 2; ++half) {
        auto own = sums.slice(4 * (n + half), 4);
        llvm::copy(k.multiplyMatrices(left,
                                      ArrayRef(loaded).slice(2 * half, 2), own),
                   own.begin());
      }
    }
  };
  // A loop, whose loads do not all want registers at once.
  constexpr int64_t together = 8;
  SmallVector<Value> scores(4 * ownGroups, k.f32(0));
  scores = k.loop(k.i64(0), k.i64(pieces / together), 1, scores,
                  [&](Value i, ValueRange before) {
                    SmallVector<Value> sums(before);
                    for (int64_t piece = 0; piece < together; piece += 2)
                      multiply(k.mul(i, together * 16), piece, sums);
                    return sums;
                  });
  for (int64_t piece = pieces / together * together; piece < pieces; piece += 2)
    multiply(k.i64(0), piece, scores);
  return scores;
}

/// `sums` and the weighted latents of a tile.
SmallVector<Value> LatentTiles::addLatents(Value latents, ValueRange before) {
  int64_t pieces = work.dim / kGroup, weightPieces = positions / kGroup;
  Value inMatrix = k.add(k.mul(k.rem(k.div(lane, kGroup), 2), kGroup),
                         k.rem(lane, kGroup));
  auto addStep = [&](Value step, ValueRange before) {
    SmallVector<Value> sums(before);
    SmallVector<SmallVector<Value>> left;
    for (int64_t m = 0; m < heads / kTile; ++m)
      left.push_back(loadLeft(weights, k.i64(0), m * kTile, k.mul(step, 2), 0,
                              weightPieces));
    Value rows = k.at(latents, k.mul(step, kTile * pieces * 16));
    for (int64_t n = 0; n < ownColumns; ++n) {
      // All warps have n-th coordinates, or the last again.
      bool all = (n + 1) * kWarps <= work.latent / kTile;
      Value piece = k.add(k.div(coordinates(all ? 0 : n), kGroup),
                          k.div(lane, kTile));
      SmallVector<Value> loaded = k.loadMatrices(
          k.at(rows, place(inMatrix, 0, piece,
                           all ? n * kWarps * kTile / kGroup : 0, pieces)),
          /*transposed=*/true);
      for (auto [m, fragments] : llvm::enumerate(left))
        for (int64_t half = 0; half < 2; ++half) {
          auto target = MutableArrayRef(sums).slice(
              4 * (2 * (m * ownColumns + n) + half), 4);
          llvm::copy(k.multiplyMatrices(fragments,
                                        ArrayRef(loaded).slice(2 * half, 2),
                                        target),
                     target.begin());
        }
    }
    return sums;
  };
  return k.loop(k.i64(0), k.i64(positions / kTile), 1, before, addStep);
}

void LatentTiles::exchange(ArrayRef<Value> values) {
  k.ifThen(k.equal(k.rem(lane, 4), k.i64(0)), [&] {
    for (auto [i, value] : llvm::enumerate(values))
      k.store(value, sharedOf(sharer, headOf(ownHead, i)), 4);
  });
  k.barrier();
}

LatentTiles::State LatentTiles::emitStep(Value step, ValueRange before) {
  State state(before);
  // LLVM moves no shuffle: addresses that come of this lane are formed in each
  // step, and take no registers from the sums.
  Value own = k.shuffleXor(
      arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), k.lane), 0);
  lane = k.rem(k.widen(own), kWarp);
  Value latents = stageAt(step);
  // Where there are more warps than positions to share out, some have none.
  int64_t groups = positions / kGroup;
  Value working = ownGroups * sharers == groups
                      ? Value()
                      : k.less(k.mul(sharer, ownGroups), k.i64(groups));
  SmallVector<Value> scores(4 * ownGroups, lowest());
  if (!working)
    scores = emitScores(latents);
  else
    scores = k.ifThenElse(working, scores, [&] { return emitScores(latents); });
  Value first = k.add(k.mul(step, positions),
                      k.add(k.mul(sharer, ownGroups * kGroup),
                            k.mul(k.rem(lane, 4), 2)));
  SmallVector<Value> exists;
  Value peaks[2] = {lowest(), lowest()};
  for (auto [n, score] : llvm::enumerate(scores)) {
    int64_t inGroup = n / 4 * kGroup + n % 2;
    exists.push_back(k.less(k.add(first, inGroup), length));
    if (working)
      exists.back() = k.both(exists.back(), working);
    score = k.select(exists.back(), score, lowest());
    peaks[n % 4 / 2] = k.maxf(peaks[n % 4 / 2], score);
  }
  for (Value &peak : peaks) {
    peak = k.maxf(peak, k.shuffleXor(peak, 1));
    peak = k.maxf(peak, k.shuffleXor(peak, 2));
  }
  exchange(peaks);
  Value isFirst = k.both(k.equal(sharer, k.i64(0)),
                         k.equal(k.rem(lane, 4), k.i64(0)));
  for (int64_t i = 0; i < 2; ++i) {
    Value head = headOf(ownHead, i), peak = state[i];
    for (int64_t other = 0; other < sharers; ++other)
      peak = k.maxf(peak, k.load(k.f32Type(), sharedOf(k.i64(other), head), 4));
    Value fade = exp2(k.subf(state[i], peak));
    state[i] = peaks[i] = peak;
    state[2 + i] = k.mulf(state[2 + i], fade);
    k.ifThen(isFirst,
             [&] { k.store(fade, k.at(fades, k.mul(head, 4)), 4); });
  }
  for (auto [n, score] : llvm::enumerate(scores)) {
    int64_t i = n % 4 / 2;
    score = k.select(exists[n], exp2(k.subf(score, peaks[i])), k.f32(0));
    state[2 + i] = k.addf(state[2 + i], score);
  }
  auto storeWeights = [&] {
    for (int64_t n = 0; n < ownGroups; ++n)
      for (int64_t i = 0; i < 2; ++i) {
        Value group = k.add(k.mul(sharer, ownGroups), n);
        Value at = k.add(place(headOf(ownHead, i), 0, group, 0, groups),
                         k.mul(k.rem(lane, 4), 4));
        k.store(k.packPair(scores[4 * n + 2 * i], scores[4 * n + 2 * i + 1]),
                k.at(weights, at), 4);
      }
  };
  if (working)
    k.ifThen(working, storeWeights);
  else
    storeWeights();
  k.barrier();
  auto sums = MutableArrayRef(state).drop_front(4);
  for (int64_t m = 0; m < heads / kTile; ++m)
    for (int64_t i = 0; i < 2; ++i) {
      Value fade = k.load(
          k.f32Type(), k.at(fades, k.mul(headOf(k.i64(m * kTile), i), 4)), 4);
      for (int64_t n = 0; n < 2 * ownColumns; ++n)
        for (int64_t j = 0; j < 2; ++j) {
          Value &sum = sums[4 * (2 * m * ownColumns + n) + 2 * i + j];
          sum = k.mulf(sum, fade);
        }
    }
  llvm::copy(addLatents(latents, sums), sums.begin());
  return state;
}

void LatentTiles::storeSets(ValueRange state, Value split) {
  SmallVector<Value> totals;
  for (Value total : {state[2], state[3]}) {
    total = k.addf(total, k.shuffleXor(total, 1));
    totals.push_back(k.addf(total, k.shuffleXor(total, 2)));
  }
  exchange(totals);
  auto forHead = [&](Value first, int64_t i,
                     function_ref<void(Value, Value)> body) {
    Value inBlock = headOf(first, i), head = k.add(firstHead, inBlock);
    k.ifThen(k.less(head, k.i64(work.heads)),
             [&] { body(inBlock, work.setOf(k, head, split)); });
  };
  k.ifThen(k.both(k.equal(sharer, k.i64(0)),
                  k.equal(k.rem(lane, 4), k.i64(0))),
           [&] {
             for (int64_t i = 0; i < 2; ++i)
               forHead(ownHead, i, [&](Value head, Value set) {
                 Value total = k.f32(0);
                 for (int64_t other = 0; other < sharers; ++other)
                   total = k.addf(total,
                                  k.load(k.f32Type(),
                                         sharedOf(k.i64(other), head), 4));
                 k.store(state[i], set, 4);
                 k.store(total, k.at(set, 4), 4);
               });
           });
  for (int64_t n = 0; n < ownColumns; ++n) {
    Value exists = k.less(k.add(k.warp, n * kWarps),
                          k.i64(work.latent / kTile));
    Value first = k.add(coordinates(n), k.mul(k.rem(lane, 4), 2));
    k.ifThen(exists, [&] {
      for (int64_t m = 0; m < heads / kTile; ++m)
        for (int64_t i = 0; i < 2; ++i)
          forHead(k.i64(m * kTile), i, [&](Value, Value set) {
            for (int64_t half = 0; half < 2; ++half)
              for (int64_t j = 0; j < 2; ++j) {
                Value at = k.add(first, half * kGroup + j + 2);
                k.store(state[4 + 4 * (2 * (m * ownColumns + n) + half) +
                              2 * i + j],
                        k.at(set, k.mul(at, 4)), 4);
              }
          });
    });
  }
}

Grid LatentTiles::emit() {
  lane = k.lane;
  Value split = k.rem(k.block, work.splits);
  firstHead = k.mul(k.div(k.block, work.splits), heads);
  ownHead = k.mul(k.div(k.warp, sharers), kTile);
  sharer = k.rem(k.warp, sharers);
  length = k.add(k.index(op.getPositions(), k.rowTile), 1);
  layer =
      k.cacheLayerPtr(cache, k.index(op.getSlots(), k.rowTile), op.getLayer());
  queries = k.allocateShared(heads * work.dim * 2);
  stages = k.allocateShared(kStages * positions * work.dim * 2);
  weights = k.allocateShared(heads * positions * 2);
  shared = k.allocateShared(sharers * heads * 4);
  fades = k.allocateShared(heads * 4);

  copyRows(queries, heads, [&](Value row) {
    Value head = k.min(k.add(firstHead, row), k.i64(work.heads - 1));
    return std::pair(work.queryOf(k, head), k.splat(k.b.getI1Type(), 1));
  });
  Value steps = k.ceilDiv(length, positions);
  Value begin = k.div(k.mul(split, steps), work.splits);
  Value end = k.div(k.mul(k.add(split, 1), steps), work.splits);
  auto start = [&](Value step) {
    k.ifThen(k.less(step, end), [&] { startCopies(step); });
    k.commitCopies();
  };
  start(begin);
  State state(2, lowest());
  state.append(2 + heads / kTile * ownColumns * 8, k.f32(0));
  state = k.loop(begin, end, 1, state, [&](Value step, ValueRange before) {
    k.waitForCopies(0);
    k.barrier();
    start(k.add(step, 1));
    return emitStep(step, before);
  });
  k.waitForCopies(0);
  lane = k.lane;
  storeSets(state, split);
  return {work.headBlocks * work.splits, 1};
}

Grid sputnik::gpu::emitLatentTiles(Kernel &k, r1::LatentAttentionOp op,
                                   const LatentWork &work) {
  return LatentTiles(k, op, work).emit();
}
