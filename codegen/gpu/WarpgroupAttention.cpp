//===- WarpgroupAttention.cpp - Prefill's attention by warpgroups ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// On sm_90a two warpgroups have the queries of a QueryTile, 64 each, and a third
// one brings tiles of keys and of values to shared memory, by way of a
// WarpgroupRing, in the order in which they are used.
//
// Both lie there as they are in the cache, but for swizzles: keys as [panel][dim]
// [16 positions], whose 32 bytes are N-major right operands of the scores;
// values as [dim / n][position][n], N-major right operands of the sums. Queries,
// and weights once they are rounded, are left operands in registers.
//
// While a tile's scores become weights, the values of the tile before are
// multiplied. The two warpgroups start products in turn, so that one multiplies
// while the other one makes weights.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/Chip.h"
#include "codegen/gpu/QueryTile.h"
#include "codegen/gpu/Region.h"
#include "codegen/gpu/WarpgroupRing.h"

#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// Positions of a tile, and those of one product.
constexpr int64_t kPositions = 128, kProductPositions = 16;
constexpr int64_t kPanel = r1::KVCacheType::kPanel;
/// Bytes that are copied at a time, and of a position of a panel's keys.
constexpr int64_t kPiece = 16, kKeyBytes = 2 * kPanel;
/// Heads whose sums, scores, weights and queries a thread has registers for.
constexpr int64_t kMostDim = 128;
/// Most tiles in shared memory at a time.
constexpr int64_t kMostPlaces = 6;
/// What a multiprocessor's registers are shared out as: those of the threads
/// that copy and of those that multiply.
constexpr int64_t kCopyRegisters = 40, kProductRegisters = 232;

class WarpgroupAttention {
public:
  WarpgroupAttention(Kernel &k, r1::AttentionOp op)
      : k(k), tile(k, op), cache(op.getCache().getType()), dim(cache.getDim()),
        tileBytes(kPositions * dim * 2),
        places(std::min(kMostPlaces,
                        (k.target.getL1() - 1024) / tileBytes)),
        valueBytes(std::min<int64_t>(2 * (dim & -dim), 128)),
        ring(k, places, tileBytes, kWarpgroup / kWarp, kWarps) {}

  Grid emit();

private:
  using Run = QueryTile::Run;
  using Place = WarpgroupRing::Place;
  using Copy = void (WarpgroupAttention::*)(const Run &, Value, Value);

  void emitCopies();
  /// Copies the tile of number `step` to a place.
  void copyKeys(const Run &run, Value step, Value place);
  void copyValues(const Run &run, Value step, Value place);
  void copyPiece(Value to, Value from, int64_t offset, Value present);
  SmallVector<Value> bring(Copy copy, const Run &run, Value step,
                           ValueRange carried);

  /// What the threads that multiply carry from tile to tile: the place of the
  /// next, the parity of its turn, the softmax, [dim / 8][4] sums, and the
  /// weights of the tile whose values are still to be added.
  struct State {
    Place place;
    Value turn;
    SmallVector<Value> softmax, sums, weights;
    SmallVector<Value> list() const;
  };
  State stateOf(ValueRange list) const;
  void emitProducts();
  State emitRun(const Run &run, State state);
  /// Starts the products that are scores of a tile, or add its values; it is
  /// full.
  SmallVector<Value> startScores(const Place &place);
  SmallVector<Value> startValues(const Place &place, const State &state);

  Kernel &k;
  QueryTile tile;
  r1::KVCacheType cache;
  int64_t dim, tileBytes, places;
  /// Of a position's value that lie together: what a swizzle takes.
  int64_t valueBytes;
  WarpgroupRing ring;
  /// For each warpgroup a barrier in shared memory that says that it is its turn.
  Value turns;
};

} // namespace

bool sputnik::gpu::isWarpgroupAttention(r1::PhaseAttr phase,
                                        r1::AttentionOp op,
                                        r1::TargetAttr target) {
  r1::KVCacheType cache = op.getCache().getType();
  return hasWarpgroupProducts(target) && isFlashAttention(phase, op) &&
         cache.getElement().isBF16() && cache.getDim() <= kMostDim;
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// The swizzle of `bytes` on an offset in a tile.
static Value swizzle(Kernel &k, Value offset, int64_t bytes) {
  Value moved = k.mul(k.rem(k.div(offset, 128), bytes / kPiece), kPiece);
  return arith::XOrIOp::create(k.b, k.loc, offset, moved);
}

/// Copies the piece `offset` bytes further, zeros where not so many bytes are
/// `present`: what lies behind the last position must not be a NaN.
void WarpgroupAttention::copyPiece(Value to, Value from, int64_t offset,
                                   Value present) {
  k.copyAsync(to, k.at(from, offset),
              k.select(k.less(k.i64(offset), present), k.i64(kPiece),
                       k.i64(0)));
}

void WarpgroupAttention::copyKeys(const Run &run, Value step, Value place) {
  Value own = k.mul(k.sub(k.thread, k.i64(kThreads)), kPiece);
  Value to = k.at(ring.at(place), swizzle(k, own, kKeyBytes));
  Value from = k.at(run.keys, k.add(k.mul(step, tileBytes), own));
  Value panels = k.ceilDiv(k.sub(run.length, k.mul(step, kPositions)), kPanel);
  Value present = k.sub(k.mul(panels, dim * kKeyBytes), own);
  // The pieces of a thread are as far apart as the swizzle repeats itself.
  for (int64_t at = 0; at < tileBytes; at += kWarpgroup * kPiece)
    copyPiece(k.at(to, at), from, at, present);
}

void WarpgroupAttention::copyValues(const Run &run, Value step, Value place) {
  int64_t bytes = 2 * dim, pieces = bytes / kPiece;
  Value to = ring.at(place);
  Value from = k.at(run.values, k.mul(step, tileBytes));
  Value positions = k.sub(run.length, k.mul(step, kPositions));
  // A thread has some pieces, and the same ones of positions that are later by
  // as many as all threads have, a multiple of eight.
  int64_t together = std::lcm(pieces, kWarpgroup);
  int64_t later = together / pieces;
  Value helper = k.sub(k.thread, k.i64(kThreads));
  k.loop(helper, k.i64(together), kWarpgroup, [&](Value piece) {
    Value own = k.mul(piece, kPiece);
    Value position = k.div(piece, pieces);
    Value offset = k.mul(k.rem(piece, pieces), kPiece);
    Value part = k.div(offset, valueBytes);
    Value inPart = k.add(k.mul(position, valueBytes),
                         k.rem(offset, valueBytes));
    Value target = k.at(to, k.add(k.mul(part, kPositions * valueBytes),
                                  swizzle(k, inPart, valueBytes)));
    Value source = k.at(from, own);
    Value present = k.sub(k.mul(positions, bytes), own);
    for (int64_t i = 0; i < kPositions; i += later)
      copyPiece(k.at(target, i * valueBytes), source, i * bytes, present);
  });
}

/// Carries the place, its parity and how many tiles were brought so far.
SmallVector<Value> WarpgroupAttention::bring(Copy copy, const Run &run,
                                             Value step, ValueRange carried) {
  const int64_t ahead = places - 2;
  Place place{carried[0], carried[1]};
  ring.awaitEmpty(place);
  (this->*copy)(run, step, place.index);
  k.commitCopies();
  k.waitForCopies(ahead);
  k.ifThen(k.less(k.i64(ahead - 1), carried[2]),
           [&] { ring.announceFull(ring.before(place.index, ahead)); });
  Place next = ring.next(place);
  return {next.index, next.parity, k.add(carried[2], 1)};
}

void WarpgroupAttention::emitCopies() {
  Place first = ring.firstToFill();
  SmallVector<Value> end = tile.forRuns(
      {first.index, first.parity, k.i64(0)},
      [&](const Run &run, ValueRange carried) {
        Value steps = k.ceilDiv(run.length, kPositions);
        return k.loop(
            k.i64(0), k.add(steps, 1), 1, carried,
            [&](Value step, ValueRange values) {
              SmallVector<Value> now =
                  k.ifThenElse(k.less(step, steps), values, [&] {
                    return bring(&WarpgroupAttention::copyKeys, run, step,
                                 values);
                  });
              return k.ifThenElse(k.less(k.i64(0), step), now, [&] {
                return bring(&WarpgroupAttention::copyValues, run,
                             k.sub(step, k.i64(1)), now);
              });
            });
      });
  k.waitForCopies(0);
  for (int64_t last = places - 2; last > 0; --last)
    k.ifThen(k.less(k.i64(last - 1), end[2]),
             [&] { ring.announceFull(ring.before(end[0], last)); });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

SmallVector<Value> WarpgroupAttention::State::list() const {
  SmallVector<Value> all = {place.index, place.parity, turn};
  for (ArrayRef<Value> part : {softmax, sums, weights})
    llvm::append_range(all, part);
  return all;
}

WarpgroupAttention::State WarpgroupAttention::stateOf(ValueRange list) const {
  State state{{list[0], list[1]}, list[2], {}, {}, {}};
  list = list.drop_front(3);
  state.softmax = list.take_front(QueryTile::kState);
  list = list.drop_front(QueryTile::kState);
  state.sums = list.take_front(dim / 2);
  state.weights = list.drop_front(dim / 2);
  return state;
}

SmallVector<Value> WarpgroupAttention::startScores(const Place &place) {
  Value keys = k.describeMatrix(
      ring.at(place.index), {8 * kKeyBytes, dim * kKeyBytes, kKeyBytes});
  k.fenceProducts();
  SmallVector<Value> scores = k.startFirstProduct(
      tile.operand(0), keys, kPositions / 2, Kernel::Major::N);
  for (int64_t i = 1; i < dim / QueryTile::kColumns; ++i)
    scores = k.startProduct(
        tile.operand(i), k.moved(keys, i * QueryTile::kColumns * kKeyBytes),
        scores, Kernel::Major::N);
  k.commitProducts();
  return scores;
}

SmallVector<Value> WarpgroupAttention::startValues(const Place &place,
                                                   const State &state) {
  Value values =
      k.describeMatrix(ring.at(place.index),
                       {8 * valueBytes, kPositions * valueBytes, valueBytes});
  SmallVector<Value> sums = state.sums;
  k.fenceProducts();
  for (int64_t i = 0; i < kPositions / kProductPositions; ++i)
    sums = k.startProduct(
        ArrayRef(state.weights).slice(4 * i, 4),
        k.moved(values, i * kProductPositions * valueBytes), sums,
        Kernel::Major::N);
  k.commitProducts();
  return sums;
}

WarpgroupAttention::State WarpgroupAttention::emitRun(const Run &run,
                                                      State state) {
  auto release = [&] {
    ring.announceEmpty(state.place.index);
    state.place = ring.next(state.place);
  };
  // Scores become weights, and the sums ready for the values of these once
  // `awaitSums` has been emitted.
  auto weigh = [&](Value step, SmallVector<Value> scores,
                   function_ref<void()> awaitSums) {
    std::array<Value, 2> factors =
        tile.weigh(run, k.mul(step, kPositions), scores, state.softmax);
    awaitSums();
    tile.fade(state.sums, factors);
    state.weights = tile.pack(scores);
  };

  ring.awaitFull(state.place);
  SmallVector<Value> first = k.finishProducts(startScores(state.place));
  release();
  weigh(k.i64(0), first, [&] { ring.awaitFull(state.place); });
  Value steps = k.ceilDiv(run.length, kPositions);
  Value warpgroup = k.div(k.warp, kWarps / 2);
  Value own = k.barrierAt(turns, warpgroup);
  Value other = k.barrierAt(turns, k.sub(k.i64(1), warpgroup));
  state = stateOf(k.loop(
      k.i64(1), steps, 1, state.list(), [&](Value step, ValueRange before) {
        state = stateOf(before);
        // Behind these keys come the values that the weights are of.
        Place values = ring.next(state.place);
        k.waitForPhase(own, state.turn);
        SmallVector<Value> scores = startScores(state.place);
        ring.awaitFull(values);
        state.sums = startValues(values, state);
        arriveAsWarp(k, other);
        state.turn =
            arith::XOrIOp::create(k.b, k.loc, state.turn, k.i32(1));
        scores = k.finishProducts(scores, /*pending=*/1);
        release();
        weigh(step, scores, [&] {
          // The next tile is waited for here, in a loop of its own, as ptxas
          // would move the wait for the sums over the arithmetic before it.
          ring.awaitFull(ring.next(state.place));
          state.sums = k.finishProducts(state.sums);
          release();
        });
        return state.list();
      }));
  state.sums = k.finishProducts(startValues(state.place, state));
  release();
  state.weights.clear();
  return state;
}

void WarpgroupAttention::emitProducts() {
  tile.load();
  // The first warpgroup need not wait at first.
  Value first = k.select(k.less(k.warp, k.i64(kWarps / 2)), k.i32(1), k.i32(0));
  State state{ring.firstToEmpty(), first, tile.begin(),
              SmallVector<Value>(dim / 2, k.f32(0)), {}};
  state = stateOf(tile.forRuns(
      state.list(), [&](const Run &run, ValueRange before) {
        return emitRun(run, stateOf(before)).list();
      }));
  tile.store(state.softmax, state.sums);
}

Grid WarpgroupAttention::emit() {
  turns = k.allocateBarriers(2);
  k.ifThen(k.equal(k.thread, k.i64(0)), [&] {
    for (int64_t i = 0; i < 2; ++i)
      k.initBarrier(k.barrierAt(turns, k.i64(i)), kWarpgroup / kWarp);
    k.fenceBarriers();
  });
  k.blockBarrier();
  Value helps = k.less(k.i64(kThreads - 1), k.thread);
  k.ifThen(helps, [&] {
    k.setRegisters(kCopyRegisters, /*more=*/false);
    emitCopies();
  });
  k.ifThen(k.less(k.thread, k.i64(kThreads)), [&] {
    k.setRegisters(kProductRegisters, /*more=*/true);
    emitProducts();
  });
  return {cache.getHeads(), tile.getRows()};
}

FailureOr<Grid> sputnik::gpu::emitWarpgroupAttention(Kernel &k,
                                                     r1::AttentionOp op) {
  k.addHelpers(kWarpgroup);
  return WarpgroupAttention(k, op).emit();
}
