//===- WarpgroupProduct.cpp - Prefill's products by warpgroups ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// On sm_90a two warpgroups multiply tiles of features by rows, and a third one
// brings steps of both operands' columns to shared memory: panels of weights by
// bulk copies, as they lie in the image, which is how the tensor cores take them;
// rows in pieces of 16 bytes, with the swizzle of 128 bytes. Both sides meet in
// barriers in shared memory: a place for a step is full, or empty.
//
// One block runs on each multiprocessor and takes tiles in turn, so that steps
// of the next come while the sums of one go through the ops after the product.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/Chip.h"
#include "codegen/gpu/LinearEpilogue.h"
#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/Region.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Columns of a step, whose bf16 values are 128 bytes of a row, and those of one
/// product.
static constexpr int64_t kStepColumns = 64, kProductColumns = 16;
static constexpr int64_t kRowBytes = 2 * kStepColumns;
static constexpr int64_t kPanelStepBytes = kPanel * kRowBytes;
/// Panels whose upper or lower halves make the 64 rows of a product, as each
/// half is 8 rows.
static constexpr int64_t kGroupPanels = 8;
static constexpr int64_t kGroupFeatures = kGroupPanels * kPanel;
/// Rows whose sums go through the ops after the product together.
static constexpr int64_t kPieceRows = 32;
/// Most sums of a thread, and most steps in shared memory at a time.
static constexpr int64_t kSums = 128, kStages = 4;
/// What a row's copies cost in a tile beside its products, in rows.
static constexpr int64_t kTileRows = 16;
/// Registers of the threads that copy and of those that multiply: together
/// those of a multiprocessor.
static constexpr int64_t kCopyRegisters = 56, kProductRegisters = 224;

namespace {

/// A place for a step, and the parity of its barriers' phases.
struct Place {
  Value index, parity;
};

class WarpgroupProduct {
public:
  WarpgroupProduct(Kernel &k, r1::LinearOp linear);
  /// Whether a block's shared memory does.
  bool fits() const { return stages >= 2; }
  Grid emit();

private:
  void chooseTile();
  int64_t countStages(int64_t rows) const;
  /// Features and rows of a tile.
  struct Tile {
    Value firstUnit, firstPanel, firstRow;
  };
  using TileBody = function_ref<SmallVector<Value>(const Tile &, ValueRange)>;
  /// Calls `body` for each tile of this block.
  SmallVector<Value> forTiles(ValueRange carried, TileBody body);
  Place next(const Place &place);
  Value before(Value place, int64_t count);
  Value rowsAt(Value place) { return k.at(stage, k.mul(place, stageBytes)); }
  Value panelsAt(Value place) {
    return k.at(rowsAt(place), rowTile * kRowBytes);
  }
  Value full(Value place) { return k.barrierAt(barriers, place); }
  Value empty(Value place) {
    return k.barrierAt(barriers, k.add(place, stages));
  }
  void byFirstLane(function_ref<void()> body);

  void emitCopies();
  void copyPanels(const Tile &tile, Value step, Value place);
  void copyRows(const Tile &tile, Value step, Value place);
  void clearTail(Value step, Value place);
  void emitProducts();
  SmallVector<Value> multiplyStep(Value place, ValueRange sums);
  void emitEpilogue(const Tile &tile, ValueRange found);
  void storePiece(int64_t piece, ValueRange found, ValueRange offsets);

  Kernel &k;
  r1::LinearOp linear;
  Rows input;
  int64_t columns, panels, panelBytes, steps;
  int64_t unitFeatures, units, unitsTogether;
  int64_t blockPanels, groups, featureBlocks, rowTile;
  int64_t stages, stageBytes, sumStride;
  int64_t blocks;
  /// Steps whose copies of rows a thread has under way when it waits for those
  /// of the one before.
  int64_t ahead;
  LinearEpilogue epilogue;

  Value weight, rowCount, rowTiles, stage, barriers, sums;
};

} // namespace

bool sputnik::gpu::isWarpgroupProduct(r1::PhaseAttr phase, r1::LinearOp linear,
                                      r1::TargetAttr target) {
  r1::EncodingAttr encoding =
      r1::getEncoding(r1::lookupWeightType(linear, linear.getWeightAttr()));
  return hasWarpgroupProducts(target) && isMatrixProduct(phase, linear) &&
         encoding.getScheme() == r1::Scheme::BF16;
}

WarpgroupProduct::WarpgroupProduct(Kernel &k, r1::LinearOp linear)
    : k(k), linear(linear), input(k.rows(linear.getInput())),
      columns(input.features), epilogue(k, linear) {
  RankedTensorType type = r1::lookupWeightType(linear, linear.getWeightAttr());
  panels = llvm::divideCeil(type.getDimSize(0), kPanel);
  panelBytes = r1::getEncoding(type).getPanelBytes(columns);
  steps = llvm::divideCeil(columns, kStepColumns);
  unitFeatures = k.region.getPartition()->getGranule();
  units = llvm::divideCeil(panels * kPanel, unitFeatures);
  chooseTile();
}

/// How many steps of tiles of `rows` rows there is shared memory for, beside the
/// sums and what the ops after the product want of them.
int64_t WarpgroupProduct::countStages(int64_t rows) const {
  int64_t bytes = rows * kRowBytes + groups * kGroupPanels * kPanelStepBytes;
  int64_t reserved = kPieceRows * sumStride + kWarps * unitFeatures * 8 + 1024;
  return (k.target.getL1() - reserved) / bytes;
}

void WarpgroupProduct::chooseTile() {
  int64_t unitPanels = unitFeatures / kPanel;
  unitsTogether = std::clamp<int64_t>(kGroupPanels / unitPanels, 1, units);
  blockPanels = unitsTogether * unitPanels;
  groups = llvm::divideCeil(blockPanels, kGroupPanels);
  featureBlocks = llvm::divideCeil(units, unitsTogether);
  // Lanes of a warp that have other rows have other banks.
  sumStride = (groups * kGroupFeatures + 4) * 4;
  // The tile whose rounds over the multiprocessors take the least time.
  int64_t maxRows = k.phase.getMaxRows(), cores = k.target.getCores();
  int64_t best = INT64_MAX;
  rowTile = kPieceRows;
  for (int64_t rows = kPieceRows; rows <= 2 * kSums / groups;
       rows += kPieceRows) {
    int64_t tiles = featureBlocks * llvm::divideCeil(maxRows, rows);
    int64_t time = llvm::divideCeil(tiles, cores) * (rows + kTileRows);
    if (time > best || countStages(rows) < 2)
      continue;
    best = time;
    rowTile = rows;
  }
  blocks = std::min<int64_t>(cores,
                             featureBlocks * llvm::divideCeil(maxRows, rowTile));
  stages = std::min(countStages(rowTile), kStages);
  stageBytes = rowTile * kRowBytes + groups * kGroupPanels * kPanelStepBytes;
  ahead = std::max<int64_t>(stages - 2, 0);
}

SmallVector<Value> WarpgroupProduct::forTiles(ValueRange carried,
                                              TileBody body) {
  // Blocks that run together have the same features and all rows, so that the
  // weights come from memory once.
  return k.loop(k.block, k.mul(rowTiles, featureBlocks), blocks, carried,
                [&](Value index, ValueRange values) {
                  Value featureBlock = k.div(index, rowTiles);
                  Tile tile;
                  tile.firstRow = k.mul(
                      k.sub(index, k.mul(featureBlock, rowTiles)), rowTile);
                  tile.firstUnit = k.mul(featureBlock, unitsTogether);
                  tile.firstPanel =
                      k.mul(tile.firstUnit, unitFeatures / kPanel);
                  return body(tile, values);
                });
}

Place WarpgroupProduct::next(const Place &place) {
  Value more = k.add(place.index, 1);
  Value wraps = k.equal(more, k.i64(stages));
  Value other = arith::XOrIOp::create(k.b, k.loc, place.parity, k.i32(1));
  return {k.select(wraps, k.i64(0), more),
          k.select(wraps, other, place.parity)};
}

/// The place `count` < stages before one.
Value WarpgroupProduct::before(Value place, int64_t count) {
  Value less = k.sub(place, k.i64(count));
  return k.select(k.less(less, k.i64(0)), k.add(less, stages), less);
}

/// After the warp is there.
void WarpgroupProduct::byFirstLane(function_ref<void()> body) {
  k.warpBarrier();
  k.ifThen(k.equal(k.lane, k.i64(0)), body);
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// By the first warp of the helpers: a panel for each lane.
void WarpgroupProduct::copyPanels(const Tile &tile, Value step, Value place) {
  Value bytes = k.i64(kPanelStepBytes);
  if (columns % kStepColumns)
    bytes = k.min(bytes, k.sub(k.i64(panelBytes), k.mul(step, kPanelStepBytes)));
  auto narrow = [&](Value value) {
    return arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), value);
  };
  k.ifThen(k.equal(k.thread, k.i64(kThreads)), [&] {
    k.arriveExpecting(full(place), narrow(k.mul(bytes, blockPanels)));
  });
  Value panel = k.sub(k.thread, k.i64(kThreads));
  k.ifThen(k.less(panel, k.i64(blockPanels)), [&] {
    // Panels beyond the last are the last again; nobody reads their sums.
    Value index = k.min(k.add(tile.firstPanel, panel), k.i64(panels - 1));
    k.copyBulk(k.at(panelsAt(place), k.mul(panel, kPanelStepBytes)),
               k.at(weight, k.add(k.mul(index, panelBytes),
                                  k.mul(step, kPanelStepBytes))),
               narrow(bytes), full(place));
  });
}

/// By all helpers.
void WarpgroupProduct::copyRows(const Tile &tile, Value step, Value place) {
  constexpr int64_t pieces = kRowBytes / 16, together = kWarpgroup / pieces;
  Value helper = k.sub(k.thread, k.i64(kThreads));
  Value first = k.div(helper, pieces);
  Value offset = k.mul(k.rem(helper, pieces), 16);
  Value swapped = arith::XOrIOp::create(k.b, k.loc, offset,
                                        k.mul(k.rem(first, 8), 16));
  Value to = k.at(rowsAt(place), k.add(k.mul(first, kRowBytes), swapped));
  Value column = k.add(k.mul(step, kRowBytes), offset);
  Value bytes = k.i64(16);
  if (columns % kStepColumns)
    bytes = k.min(bytes, k.sub(k.i64(2 * columns), column));
  Value from = k.at(input.base, column), last = k.sub(rowCount, k.i64(1));
  for (int64_t row = 0; row < rowTile; row += together) {
    // Rows beyond the last are the last again.
    Value index = k.min(k.add(k.add(tile.firstRow, first), row), last);
    k.copyAsync(k.at(to, row * kRowBytes),
                k.at(from, k.mul(index, input.stride)), bytes);
  }
}

/// Columns of the last step that do not exist are zero in rows; in panels they
/// must be numbers.
void WarpgroupProduct::clearTail(Value step, Value place) {
  int64_t kept = panelBytes % kPanelStepBytes;
  if (!kept)
    return;
  int64_t pieces = (kPanelStepBytes - kept) / 16;
  Type four = k.vecType(4, k.b.getI32Type());
  k.ifThen(k.equal(step, k.i64(steps - 1)), [&] {
    Value helper = k.sub(k.thread, k.i64(kThreads));
    k.loop(helper, k.i64(blockPanels * pieces), kWarpgroup, [&](Value piece) {
      Value panel = k.div(piece, pieces);
      Value offset = k.add(k.mul(panel, kPanelStepBytes),
                           k.add(k.mul(k.rem(piece, pieces), 16), kept));
      k.store(k.splat(four, 0), k.at(panelsAt(place), offset), 16);
    });
  });
}

void WarpgroupProduct::emitCopies() {
  auto announce = [&](Value place) {
    // What threads copied is to be seen by the tensor cores.
    k.fenceForProducts();
    byFirstLane([&] { k.arrive(full(place)); });
  };
  SmallVector<Value> end = forTiles(
      {k.i64(0), k.i32(1), k.i64(0)},
      [&](const Tile &tile, ValueRange carried) {
        return k.loop(
            k.i64(0), k.i64(steps), 1, carried,
            [&](Value step, ValueRange values) -> SmallVector<Value> {
              Place place{values[0], values[1]};
              k.waitForPhase(empty(place.index), place.parity);
              copyPanels(tile, step, place.index);
              copyRows(tile, step, place.index);
              k.commitCopies();
              clearTail(step, place.index);
              k.waitForCopies(ahead);
              k.ifThen(k.less(k.i64(ahead - 1), values[2]),
                       [&] { announce(before(place.index, ahead)); });
              Place following = next(place);
              return {following.index, following.parity, k.add(values[2], 1)};
            });
      });
  k.waitForCopies(0);
  for (int64_t last = ahead; last > 0; --last)
    k.ifThen(k.less(k.i64(last - 1), end[2]),
             [&] { announce(before(end[0], last)); });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// A warpgroup has one half of each panel: 8 rows and 8 columns of it are 128
/// consecutive bytes.
SmallVector<Value> WarpgroupProduct::multiplyStep(Value place,
                                                  ValueRange before) {
  constexpr int64_t pieceBytes = kPanel * 16;
  Value half = k.div(k.warp, kWarps / 2);
  Value left = k.describeMatrix(
      k.at(panelsAt(place), k.mul(half, pieceBytes / 2)),
      {kPanelStepBytes, pieceBytes});
  Value right = k.describeMatrix(rowsAt(place), {8 * kRowBytes, 16, kRowBytes});
  SmallVector<Value> now(before);
  int64_t groupSums = rowTile / 2;
  k.fenceProducts();
  for (int64_t i = 0; i < kStepColumns / kProductColumns; ++i)
    for (int64_t g = 0; g < groups; ++g) {
      auto own = MutableArrayRef(now).slice(g * groupSums, groupSums);
      Value panel = k.moved(left, g * kGroupPanels * kPanelStepBytes +
                                      i * 2 * pieceBytes);
      llvm::copy(k.startProduct(panel, k.moved(right, i * 2 * kProductColumns),
                                own),
                 own.begin());
    }
  k.commitProducts();
  return now;
}

void WarpgroupProduct::emitProducts() {
  auto release = [&](Value place) {
    byFirstLane([&] { k.arrive(empty(place)); });
  };
  forTiles({k.i64(0), k.i32(0)}, [&](const Tile &tile, ValueRange carried) {
    SmallVector<Value> values(carried);
    values.append(groups * rowTile / 2, k.f32(0));
    values = k.loop(
        k.i64(0), k.i64(steps), 1, values,
        [&](Value step, ValueRange now) {
          Place place{now[0], now[1]};
          k.waitForPhase(full(place.index), place.parity);
          SmallVector<Value> found =
              multiplyStep(place.index, now.drop_front(2));
          // The step before has been multiplied.
          k.waitForProducts(1);
          k.ifThen(k.less(k.i64(0), step),
                   [&] { release(before(place.index, 1)); });
          Place following = next(place);
          SmallVector<Value> all = {following.index, following.parity};
          llvm::append_range(all, found);
          return all;
        });
    SmallVector<Value> found =
        k.finishProducts(ValueRange(values).drop_front(2));
    release(before(values[0], 1));
    emitEpilogue(tile, found);
    return SmallVector<Value>{values[0], values[1]};
  });
}

/// sums[row of the piece][feature] = what this thread has of it, and bias.
void WarpgroupProduct::storePiece(int64_t piece, ValueRange found,
                                  ValueRange offsets) {
  Value inGroup = k.mul(k.rem(k.warp, 4), 2);
  Value inPanel = k.add(k.mul(k.div(k.warp, kWarps / 2), kPanel / 2),
                        k.div(k.lane, 4));
  Value firstRow = k.mul(k.rem(k.lane, 4), 2);
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t n = 0; n < kPieceRows / 8; ++n)
      for (int64_t i = 0; i < 4; ++i) {
        Value sum =
            found[g * rowTile / 2 + 4 * (piece * kPieceRows / 8 + n) + i];
        if (!offsets.empty())
          sum = k.addf(sum, offsets[2 * g + i / 2]);
        Value panel = k.add(inGroup, g * kGroupPanels + i / 2);
        Value feature = k.add(k.mul(panel, kPanel), inPanel);
        Value row = k.add(firstRow, 8 * n + i % 2);
        k.store(sum,
                k.at(sums, k.add(k.mul(row, sumStride), k.mul(feature, 4))),
                4);
      }
}

void WarpgroupProduct::emitEpilogue(const Tile &tile, ValueRange found) {
  SmallVector<Value> offsets;
  if (linear.getBiasAttr()) {
    Value bias = k.weightPtr(linear, linear.getBiasAttr(), linear.getLayer());
    int64_t count =
        r1::lookupWeightType(linear, linear.getBiasAttr()).getDimSize(0);
    Value own = k.add(k.mul(k.div(k.warp, kWarps / 2), kPanel / 2),
                      k.div(k.lane, 4));
    for (int64_t i = 0; i < 2 * groups; ++i) {
      Value panel = k.add(k.add(tile.firstPanel, k.mul(k.rem(k.warp, 4), 2)),
                          i / 2 * kGroupPanels + i % 2);
      Value feature =
          k.min(k.add(k.mul(panel, kPanel), own), k.i64(count - 1));
      offsets.push_back(
          k.load(k.f32Type(), k.at(bias, k.mul(feature, 4)), 4));
    }
  }
  Value rows = k.min(k.sub(rowCount, tile.firstRow), k.i64(rowTile));
  k.loop(k.i64(0), k.ceilDiv(rows, kPieceRows), 1, [&](Value piece) {
    // Everybody is done with the piece before.
    k.barrier();
    for (int64_t i = 0; i < rowTile / kPieceRows; ++i)
      k.ifThen(k.equal(piece, k.i64(i)), [&] { storePiece(i, found, offsets); });
    k.barrier();
    Value first = k.mul(piece, kPieceRows);
    epilogue.emit({sums, k.add(tile.firstRow, first),
                   k.min(k.sub(rows, first), k.i64(kPieceRows)), sumStride,
                   tile.firstUnit, unitsTogether},
                  units, unitFeatures);
  });
}

Grid WarpgroupProduct::emit() {
  k.addHelpers(kWarpgroup);
  weight = k.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  rowCount = k.countOf(linear.getInput());
  rowTiles = k.ceilDiv(rowCount, rowTile);
  // First, where the alignment is that of swizzles.
  stage = k.allocateShared(stages * stageBytes);
  barriers = k.allocateBarriers(2 * stages);
  sums = k.allocateShared(kPieceRows * sumStride);
  k.ifThen(k.equal(k.thread, k.i64(0)), [&] {
    for (int64_t i = 0; i < stages; ++i) {
      // Each helpers' warp has its rows there, and the panels are expected.
      k.initBarrier(full(k.i64(i)), kWarpgroup / kWarp + 1);
      k.initBarrier(empty(k.i64(i)), kWarps);
    }
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
  return {blocks, k.phase.getMaxRows()};
}

FailureOr<Grid> sputnik::gpu::emitWarpgroupProduct(Kernel &k,
                                                   r1::LinearOp linear) {
  if (failed(LinearEpilogue::verify(k.region)))
    return failure();
  WarpgroupProduct product(k, linear);
  return product.fits() ? product.emit() : emitMatrixProduct(k, linear);
}
