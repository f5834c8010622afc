//===- WarpgroupTiles.cpp - Products of tiles by warpgroups ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/WarpgroupTiles.h"

#include "codegen/gpu/PanelDot.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

static constexpr int64_t kStepColumns = WarpgroupWeights::kStepColumns;
static constexpr int64_t kProductColumns = WarpgroupWeights::kProductColumns;
static constexpr int64_t kGroupPanels = WarpgroupWeights::kGroupPanels;
/// Bytes of a step of a row.
static constexpr int64_t kRowBytes = 2 * kStepColumns;
/// Most rows whose sums go through what follows the product together.
static constexpr int64_t kPieceRows = 32;
/// Most sums of a thread, and most steps in shared memory at a time.
static constexpr int64_t kSums = 128, kStages = 4;
/// Registers of the threads that copy and of those that multiply: together
/// those of a multiprocessor.
static constexpr int64_t kCopyRegisters = 56, kProductRegisters = 224;

int64_t WarpgroupTiles::getMostRows(int64_t panels) {
  return 2 * kSums / llvm::divideCeil(panels, kGroupPanels);
}

/// Products of a row take 4 cycles of a step. Fragments take each scheduler
/// some 400 to 600 instructions, of which products hide about a half.
int64_t WarpgroupTiles::getStepCost(r1::EncodingAttr encoding) {
  return encoding.getBlock() ? 64 : 16;
}

WarpgroupTiles::WarpgroupTiles(Kernel &k, r1::EncodingAttr encoding,
                               int64_t columns, const Shape &shape,
                               int64_t reserved)
    : k(k), weights(encoding, columns), columns(columns),
      panelBytes(encoding.getPanelBytes(columns)),
      steps(llvm::divideCeil(columns, kStepColumns)), shape(shape),
      groups(llvm::divideCeil(shape.panels, kGroupPanels)),
      pieceRows(std::min(shape.rows, kPieceRows)) {
  // Lanes of a warp that have other rows have other banks.
  sumStride = (groups * kGroupPanels * kPanel + 4) * 4;
  // Swizzles need this alignment.
  stageBytes = llvm::alignTo(shape.rows * kRowBytes +
                                 groups * kGroupPanels * weights.stepBytes(),
                             1024);
  int64_t left = k.target.getL1() - pieceRows * sumStride - reserved -
                 2 * kStages * 8;
  stages = std::min(left / stageBytes, kStages);
  ahead = std::max<int64_t>(stages - 2, 0);
}

Value WarpgroupTiles::panelsAt(Value place) {
  return k.at(ring->at(place), shape.rows * kRowBytes);
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// Panels beyond the last are the last again; nobody reads their sums.
Value WarpgroupTiles::panelAt(const Work &work, const Tile &tile, Value panel) {
  Value index = k.min(k.add(tile.firstPanel, panel), k.i64(work.panels - 1));
  return k.at(tile.weight, k.mul(index, panelBytes));
}

/// By the first warp of the helpers: a panel for each lane.
void WarpgroupTiles::copyPanels(const Work &work, const Tile &tile, Value step,
                                Value place) {
  auto narrow = [&](Value value) {
    return arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), value);
  };
  auto pieces = weights.pieces(k, step);
  Value bytes = pieces.front().bytes;
  for (const WarpgroupWeights::Piece &piece : llvm::drop_begin(pieces))
    bytes = k.add(bytes, piece.bytes);
  k.ifThen(k.equal(k.thread, k.i64(kThreads)), [&] {
    k.arriveExpecting(ring->full(place), narrow(k.mul(bytes, shape.panels)));
  });
  Value panel = k.sub(k.thread, k.i64(kThreads));
  k.ifThen(k.less(panel, k.i64(shape.panels)), [&] {
    Value from = panelAt(work, tile, panel);
    Value to = k.at(panelsAt(place), k.mul(panel, weights.stepBytes()));
    for (const WarpgroupWeights::Piece &piece : pieces)
      k.copyBulk(k.at(to, piece.place), k.at(from, piece.offset),
                 narrow(piece.bytes), ring->full(place));
  });
}

/// By all helpers.
void WarpgroupTiles::copyRows(const Work &work, const Tile &tile, Value step,
                              Value place) {
  constexpr int64_t pieces = kRowBytes / 16, together = kWarpgroup / pieces;
  Value helper = k.sub(k.thread, k.i64(kThreads));
  Value first = k.div(helper, pieces);
  Value offset = k.mul(k.rem(helper, pieces), 16);
  Value swapped = arith::XOrIOp::create(k.b, k.loc, offset,
                                        k.mul(k.rem(first, 8), 16));
  Value to = k.at(ring->at(place), k.add(k.mul(first, kRowBytes), swapped));
  Value column = k.add(k.mul(step, kRowBytes), offset);
  Value bytes = k.i64(16);
  if (columns % kStepColumns)
    bytes = k.min(bytes, k.sub(k.i64(2 * columns), column));
  Value firstRow = k.add(tile.firstRow, first);
  Value last = k.sub(k.add(tile.firstRow, tile.rows), k.i64(1));
  for (int64_t row = 0; row < shape.rows; row += together) {
    // Rows beyond the last are the last again.
    Value index = k.min(k.add(firstRow, row), last);
    k.copyAsync(k.at(to, row * kRowBytes), k.at(work.rowAt(index), column),
                bytes);
  }
}

/// Columns of the last step that do not exist are zero in rows; in panels they
/// must be numbers.
void WarpgroupTiles::clearTail(Value step, Value place) {
  int64_t missing = weights.missingBytes();
  if (!missing)
    return;
  int64_t pieces = missing / 16, kept = weights.stepBytes() - missing;
  Type four = k.vecType(4, k.b.getI32Type());
  k.ifThen(k.equal(step, k.i64(steps - 1)), [&] {
    Value helper = k.sub(k.thread, k.i64(kThreads));
    k.loop(helper, k.i64(shape.panels * pieces), kWarpgroup, [&](Value piece) {
      Value panel = k.div(piece, pieces);
      Value offset = k.add(k.mul(panel, weights.stepBytes()),
                           k.add(k.mul(k.rem(piece, pieces), 16), kept));
      k.store(k.splat(four, 0), k.at(panelsAt(place), offset), 16);
    });
  });
}

void WarpgroupTiles::emitCopies(const Work &work) {
  Place start = ring->firstToFill();
  SmallVector<Value> end = work.forTiles(
      {start.index, start.parity, k.i64(0)},
      [&](const Tile &tile, ValueRange carried) {
        return k.loop(
            k.i64(0), k.i64(steps), 1, carried,
            [&](Value step, ValueRange values) -> SmallVector<Value> {
              Place place{values[0], values[1]};
              ring->awaitEmpty(place);
              copyPanels(work, tile, step, place.index);
              copyRows(work, tile, step, place.index);
              k.commitCopies();
              clearTail(step, place.index);
              k.waitForCopies(ahead);
              k.ifThen(k.less(k.i64(ahead - 1), values[2]),
                       [&] { ring->announceFull(ring->before(place.index, ahead)); });
              Place following = ring->next(place);
              return {following.index, following.parity, k.add(values[2], 1)};
            });
      });
  k.waitForCopies(0);
  for (int64_t last = ahead; last > 0; --last)
    k.ifThen(k.less(k.i64(last - 1), end[2]),
             [&] { ring->announceFull(ring->before(end[0], last)); });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Waits for all products but those of the last part.
SmallVector<Value> WarpgroupTiles::multiplyStep(Value step, Value place,
                                                ValueRange rowScales,
                                                ValueRange sumsBefore) {
  SmallVector<Value> now(sumsBefore);
  int64_t groupSums = shape.rows / 2;
  Value rows = k.describeMatrix(ring->at(place), {8 * kRowBytes, 16, kRowBytes});
  for (int64_t part = 0; part < weights.parts(); ++part) {
    SmallVector<SmallVector<WarpgroupWeights::Operand, 4>> left;
    for (int64_t g = 0; g < groups; ++g) {
      Value panels =
          k.at(panelsAt(place), g * kGroupPanels * weights.stepBytes());
      left.push_back(weights.load(
          k, panels, step, part,
          rowScales.empty() ? rowScales : rowScales.slice(2 * g, 2)));
    }
    k.fenceProducts();
    for (int64_t i = 0; i < weights.products(); ++i) {
      int64_t column = (part * weights.products() + i) * kProductColumns;
      for (int64_t g = 0; g < groups; ++g) {
        auto own = MutableArrayRef(now).slice(g * groupSums, groupSums);
        llvm::copy(k.startProduct(left[g][i], k.moved(rows, 2 * column), own),
                   own.begin());
      }
    }
    k.commitProducts();
    k.waitForProducts(1);
    // The step before has been multiplied.
    if (part == 0)
      k.ifThen(k.less(k.i64(0), step),
               [&] { ring->announceEmpty(ring->before(place, 1)); });
  }
  return now;
}

void WarpgroupTiles::emitProducts(const Work &work) {
  Place start = ring->firstToEmpty();
  work.forTiles({start.index, start.parity}, [&](const Tile &tile,
                                                 ValueRange carried) {
    SmallVector<Value> rowScales;
    for (int64_t g = 0; g < groups; ++g) {
      Value panel = k.add(weights.panel(k, 0), g * kGroupPanels);
      llvm::append_range(rowScales,
                         weights.rowScales(k, panelAt(work, tile, panel)));
    }
    SmallVector<Value> values(carried);
    values.append(groups * shape.rows / 2, k.f32(0));
    values = k.loop(
        k.i64(0), k.i64(steps), 1, values,
        [&](Value step, ValueRange now) {
          Place place{now[0], now[1]};
          ring->awaitFull(place);
          SmallVector<Value> found =
              multiplyStep(step, place.index, rowScales, now.drop_front(2));
          Place following = ring->next(place);
          SmallVector<Value> all = {following.index, following.parity};
          llvm::append_range(all, found);
          return all;
        });
    SmallVector<Value> found =
        k.finishProducts(ValueRange(values).drop_front(2));
    ring->announceEmpty(ring->before(values[0], 1));
    emitPieces(work, tile, found);
    return SmallVector<Value>{values[0], values[1]};
  });
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

/// sums[row of the piece][feature] = what this thread has of it, and what is
/// added.
void WarpgroupTiles::storePiece(int64_t piece, ValueRange found,
                                ValueRange offsets) {
  Value firstRow = k.mul(k.rem(k.lane, 4), 2);
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t n = 0; n < pieceRows / 8; ++n)
      for (int64_t i = 0; i < 4; ++i) {
        Value sum =
            found[g * shape.rows / 2 + 4 * (piece * pieceRows / 8 + n) + i];
        if (!offsets.empty())
          sum = k.addf(sum, offsets[2 * g + i / 2]);
        Value panel = k.add(weights.panel(k, i), g * kGroupPanels);
        Value feature = k.add(k.mul(panel, kPanel), weights.row(k, i));
        Value row = k.add(firstRow, 8 * n + i % 2);
        k.store(sum,
                k.at(sums, k.add(k.mul(row, sumStride), k.mul(feature, 4))),
                4);
      }
}

void WarpgroupTiles::emitPieces(const Work &work, const Tile &tile,
                                ValueRange found) {
  SmallVector<Value> offsets;
  if (work.offsetOf)
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t i : {0, 2}) {
        Value panel = k.add(weights.panel(k, i), g * kGroupPanels);
        offsets.push_back(work.offsetOf(k.add(tile.firstPanel, panel),
                                        weights.row(k, i)));
      }
  Value rows = k.min(tile.rows, k.i64(shape.rows));
  k.loop(k.i64(0), k.ceilDiv(rows, pieceRows), 1, [&](Value piece) {
    // Everybody is done with the piece before.
    k.barrier();
    for (int64_t i = 0; i < shape.rows / pieceRows; ++i)
      k.ifThen(k.equal(piece, k.i64(i)),
               [&] { storePiece(i, found, offsets); });
    k.barrier();
    Value first = k.mul(piece, pieceRows);
    work.finish(tile, {first, k.min(k.sub(rows, first), k.i64(pieceRows)),
                       sums});
  });
}

void WarpgroupTiles::emit(const Work &work) {
  k.addHelpers(kWarpgroup);
  // First, where the alignment is that of swizzles. Each helpers' warp has its rows
  // there, and the panels are expected.
  ring.emplace(k, stages, stageBytes, /*fillers=*/kWarpgroup / kWarp + 1,
               /*emptiers=*/kWarps);
  sums = k.allocateShared(pieceRows * sumStride);
  k.blockBarrier();
  Value helps = k.less(k.i64(kThreads - 1), k.thread);
  k.ifThen(helps, [&] {
    k.setRegisters(kCopyRegisters, /*more=*/false);
    emitCopies(work);
  });
  k.ifThen(k.less(k.thread, k.i64(kThreads)), [&] {
    k.setRegisters(kProductRegisters, /*more=*/true);
    emitProducts(work);
  });
}
