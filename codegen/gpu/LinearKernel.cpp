//===- LinearKernel.cpp - Products with packed weights --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block computes the features that belong together (a unit: a head, or a
// panel of gate and one of up) for a few rows. Its warps share out the panels
// of the unit, and columns where there are more warps than panels. Where there
// are fewer units than the chip has room for, several blocks share the columns
// of one; the last to finish adds their sums up, always in the same order.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/LinearEpilogue.h"
#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/Region.h"
#include "codegen/gpu/RowOps.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Chunks that a warp loads before it multiplies the first.
static constexpr int64_t kUnroll = 4;
/// Weights that a block prefetches: blocks that find room on the chip ask for
/// what its memory gives in about the time from one kernel to the next.
static constexpr int64_t kPrefetchBytes = 32 << 10;
/// Rows that share one pass over the weights, where several come at once.
static constexpr int64_t kRowTile = 8;

namespace {

class LinearKernel {
public:
  LinearKernel(Kernel &k, r1::LinearOp linear, PanelDot dot);
  FailureOr<Grid> emit();
  void prefetch();

private:
  void choose();
  void stageInputs();
  void emitSums();
  SmallVector<Value> emitPanel(Value panel, Value part);
  void combine(Value unit);
  void emitEpilogue(Value unit);
  /// Index of tile row t among the rows of the region; the last one again
  /// where there are fewer.
  Value rowAt(Value t) {
    return k.min(k.add(firstRow, t), k.sub(rowCount, k.i64(1)));
  }

  Kernel &k;
  r1::LinearOp linear;
  PanelDot dot;
  SmallVector<Operation *> prologue;
  LinearEpilogue epilogue;
  RankedTensorType inputType;
  int64_t columns, panels, panelBytes, biasCount = 0;
  int64_t unitFeatures, unitPanels, units, columnWarps;
  int64_t rowTile, splits;
  bool staged;

  Value weight, bias, rowCount, firstRow, split;
  Value stage;        // [rowTile] rows of the input, where they are staged.
  int64_t stageBytes; // From row to row.
  Value sums;         // [columnWarps][rowTile][unitFeatures]
};

} // namespace

int64_t sputnik::gpu::chooseSplits(r1::TargetAttr target, int64_t pieces,
                          int64_t most) {
  // Two blocks on each multiprocessor hide each other's starts and ends.
  return std::clamp<int64_t>(2 * target.getCores() / pieces, 1,
                             std::max<int64_t>(most, 1));
}

LinearKernel::LinearKernel(Kernel &k, r1::LinearOp linear, PanelDot dot)
    : k(k), linear(linear), dot(dot), epilogue(k, linear) {
  RankedTensorType type = r1::lookupWeightType(linear, linear.getWeightAttr());
  inputType = cast<RankedTensorType>(linear.getInput().getType());
  columns = type.getDimSize(1);
  panels = llvm::divideCeil(type.getDimSize(0), kPanel);
  panelBytes = r1::getEncoding(type).getPanelBytes(columns);
  for (Operation &op : k.region.getBody().front().without_terminator())
    if (op.isBeforeInBlock(linear))
      prologue.push_back(&op);
  unitFeatures = k.region.getPartition()->getGranule();
  unitPanels = unitFeatures / kPanel;
  units = llvm::divideCeil(panels, unitPanels);
  columnWarps = std::max<int64_t>(1, kWarps / unitPanels);
  choose();
}

void LinearKernel::choose() {
  // Rows that lie as the product reads them are left where they are.
  staged = !prologue.empty() ||
           (!dot.isInteger() && dot.paddedColumns(columns) != columns);
  int64_t rowBytes =
      dot.isInteger()
          ? r1::getRowBytes(inputType)
          : dot.paddedColumns(columns) * 4;
  stageBytes = llvm::alignTo(rowBytes, 16);
  rowTile = std::min<int64_t>(k.phase.getMaxRows(), kRowTile);
  if (staged)
    rowTile = std::clamp<int64_t>(k.target.getL1() / 2 / stageBytes, 1,
                                  rowTile);
  int64_t tiles = llvm::divideCeil(k.phase.getMaxRows(), rowTile);
  int64_t chunks = dot.rowParts(columns) / dot.parts();
  // With many rows there are blocks enough. Decode and verify split alike, for
  // their sums to be the same.
  splits = k.phase.getKind() == r1::PhaseKind::Prefill ||
                   units * tiles > kCounters
               ? 1
               : chooseSplits(k.target, units,
                              chunks / (columnWarps * kUnroll));
}

/// Runs the ops before the product, row by row, into shared memory.
void LinearKernel::stageInputs() {
  stage = k.allocateShared(rowTile * stageBytes);
  Value between; // Rows on their way to be quantised.
  if (dot.isInteger())
    between = k.allocateShared(columns * 4);
  k.loop(k.i64(0), k.i64(rowTile), 1, [&](Value t) {
    Value row = rowAt(t), out = k.at(stage, k.mul(t, stageBytes));
    RowSlice slice;
    slice.row = row;
    slice.features = columns;
    for (Operation *op : prologue) {
      Value result = op->getResult(0);
      if (auto select = dyn_cast<r1::SelectRowsOp>(op)) {
        slice.locals[result] = k.rowPtr(k.rows(select.getInput()),
                                        k.index(select.getRows(), row));
        continue;
      }
      bool quantisedNext = dot.isInteger() && op != prologue.back();
      slice.locals[result] = quantisedNext ? between : out;
      emitRowOp(k, op, slice);
      k.barrier();
    }
    if (Value made = slice.ptr(k, linear.getInput()); made != out)
      k.forEach(columns, [&](Value i) {
        Value at = k.mul(i, 4);
        k.store(k.load(k.f32Type(), k.at(made, at), 4), k.at(out, at), 4);
      });
    // Columns that fill up the last part are zero in the weight; they must be
    // numbers here.
    if (!dot.isInteger())
      k.forEach(stageBytes / 4 - columns, [&](Value i) {
        k.store(k.f32(0), k.at(out, k.mul(k.add(i, columns), 4)), 4);
      });
  });
  k.barrier();
}

/// The sums of this warp's share of a panel: rowsPerLane for each row of the
/// tile.
SmallVector<Value> LinearKernel::emitPanel(Value panel, Value part) {
  SmallVector<PanelDot::Row> rows;
  for (int64_t t = 0; t < rowTile; ++t)
    rows.push_back(dot.rowAt(k,
                             staged ? k.at(stage, t * stageBytes)
                                    : k.rowPtr(k.rows(linear.getInput()),
                                               rowAt(k.i64(t))),
                             columns));
  int64_t chunks = dot.rowParts(columns) / dot.parts();
  PanelDot::Share share;
  share.begin = k.div(k.mul(split, chunks), splits);
  share.end = k.div(k.mul(k.add(split, 1), chunks), splits);
  share.first = part;
  share.stride = columnWarps;
  share.takesRest = k.both(k.equal(part, k.i64(0)),
                           k.equal(split, k.i64(splits - 1)));
  // Rows keep registers busy; fewer loads wait for their turn then.
  return dot.sumPanel(k, k.at(weight, k.mul(panel, panelBytes)), columns, rows,
                      share, rowTile > 1 ? kUnroll / 2 : kUnroll);
}

void LinearKernel::emitSums() {
  Value unit = k.div(k.block, splits);
  auto onePanel = [&](Value inUnit, Value part) {
    Value panel = k.add(k.mul(unit, unitPanels), inUnit);
    k.ifThen(k.less(panel, k.i64(panels)), [&] {
      SmallVector<Value> reduced = emitPanel(panel, part);
      k.ifThen(k.equal(dot.lanePart(k), k.i64(0)), [&] {
        Value feature = k.add(k.mul(inUnit, kPanel), dot.laneRow(k));
        for (int64_t t = 0; t < rowTile; ++t) {
          Value row = k.add(k.mul(part, rowTile), t);
          Value at = k.at(
              sums, k.mul(k.add(k.mul(row, unitFeatures), feature), 4));
          for (int64_t i = 0; i < dot.rowsPerLane(); ++i)
            k.store(reduced[t * dot.rowsPerLane() + i], k.at(at, 4 * i), 4);
        }
      });
    });
  };
  if (columnWarps == 1) {
    k.loop(k.warp, k.i64(unitPanels), kWarps,
           [&](Value inUnit) { onePanel(inUnit, k.i64(0)); });
    return;
  }
  Value inUnit = k.div(k.warp, columnWarps);
  k.ifThen(k.less(inUnit, k.i64(unitPanels)),
           [&] { onePanel(inUnit, k.rem(k.warp, columnWarps)); });
}

/// sums[0] = what all warps, and all blocks of the unit, have found, and bias.
void LinearKernel::combine(Value unit) {
  int64_t count = rowTile * unitFeatures;
  Value first = k.mul(unit, unitFeatures);
  k.barrier();
  // Of panels that do not exist there are no sums.
  auto exists = [&](Value i, int64_t limit) {
    return k.less(k.add(first, k.rem(i, unitFeatures)), k.i64(limit));
  };
  auto total = [&](Value i) {
    return k.loop(k.i64(0), k.i64(columnWarps), 1, {k.f32(0)},
                  [&](Value warp, ValueRange sum) -> SmallVector<Value> {
                    Value at = k.add(k.mul(warp, count), i);
                    return {k.addf(sum[0], k.load(k.f32Type(),
                                                  k.at(sums, k.mul(at, 4)),
                                                  4))};
                  })[0];
  };
  auto finish = [&](Value i, Value value) {
    if (bias)
      value = k.ifThenElse(exists(i, biasCount), value, [&] {
        Value at = k.mul(k.add(first, k.rem(i, unitFeatures)), 4);
        return SmallVector<Value>{
            k.addf(value, k.load(k.f32Type(), k.at(bias, at), 4))};
      })[0];
    k.store(value, k.at(sums, k.mul(i, 4)), 4);
  };
  auto forExisting = [&](function_ref<void(Value)> body) {
    k.forEach(count, [&](Value i) {
      k.ifThen(exists(i, panels * kPanel), [&] { body(i); });
    });
  };
  if (splits == 1) {
    forExisting([&](Value i) { finish(i, total(i)); });
    k.barrier();
    emitEpilogue(unit);
    return;
  }
  int64_t tiles = llvm::divideCeil(k.phase.getMaxRows(), rowTile);
  Value partials = k.allocateWorkspace(tiles * units * splits * count * 4);
  Value piece = k.add(k.mul(k.rowTile, units), unit);
  Value own = k.at(partials, k.mul(k.mul(piece, splits), count * 4));
  forExisting([&](Value i) {
    Value at = k.add(k.mul(split, count), i);
    k.store(total(i), k.at(own, k.mul(at, 4)), 4);
  });
  k.ifThen(k.arriveLast(k.counter(piece), splits), [&] {
    forExisting([&](Value i) {
      Value sum = k.f32(0);
      for (int64_t s = 0; s < splits; ++s)
        sum = k.addf(sum,
                     k.load(k.f32Type(),
                            k.at(own, k.mul(k.add(i, s * count), 4)), 4));
      finish(i, sum);
    });
    k.barrier();
    emitEpilogue(unit);
  });
}

void LinearKernel::emitEpilogue(Value unit) {
  k.loop(k.i64(0), k.i64(rowTile), 1, [&](Value t) {
    Value row = k.add(firstRow, t);
    k.ifThen(k.less(row, rowCount), [&] {
      epilogue.emit(row, k.at(sums, k.mul(t, unitFeatures * 4)),
                    k.mul(unit, unitFeatures), unitFeatures);
    });
  });
}

/// The beginnings of this block's share of each panel.
void LinearKernel::prefetch() {
  weight = k.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  int64_t shareBytes = llvm::alignDown(panelBytes / splits, 64);
  int64_t bytes = std::min(shareBytes, kPrefetchBytes / unitPanels);
  Value unit = k.div(k.block, splits), part = k.rem(k.block, splits);
  Value panel = k.add(k.mul(unit, unitPanels), k.thread);
  k.ifThen(k.both(k.less(k.thread, k.i64(unitPanels)),
                  k.less(panel, k.i64(panels))),
           [&] {
             k.prefetch(k.at(weight, k.add(k.mul(panel, panelBytes),
                                           k.mul(part, shareBytes))),
                        k.i64(llvm::alignDown(bytes, 16)));
           });
}

FailureOr<Grid> LinearKernel::emit() {
  weight = k.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  if (linear.getBiasAttr()) {
    bias = k.weightPtr(linear, linear.getBiasAttr(), linear.getLayer());
    biasCount =
        r1::lookupWeightType(linear, linear.getBiasAttr()).getDimSize(0);
  }
  rowCount = k.countOf(linear.getInput());
  firstRow = k.mul(k.rowTile, rowTile);
  split = k.rem(k.block, splits);
  if (staged)
    stageInputs();
  sums = k.allocateShared(columnWarps * rowTile * unitFeatures * 4);
  emitSums();
  combine(k.div(k.block, splits));
  return Grid{units * splits, rowTile};
}

static FailureOr<PanelDot> getDot(r1::LinearOp linear) {
  return PanelDot::get(
      r1::getEncoding(r1::lookupWeightType(linear, linear.getWeightAttr())),
      cast<RankedTensorType>(linear.getInput().getType()).getElementType());
}

void sputnik::gpu::prefetchLinear(Kernel &k, r1::LinearOp linear) {
  if (FailureOr<PanelDot> dot = getDot(linear); succeeded(dot))
    LinearKernel(k, linear, *dot).prefetch();
}

FailureOr<Grid> sputnik::gpu::emitLinear(Kernel &k, r1::LinearOp linear) {
  FailureOr<PanelDot> dot = getDot(linear);
  if (failed(dot))
    return linear.emitOpError("no kernel multiplies ")
           << r1::getEncoding(
                  r1::lookupWeightType(linear, linear.getWeightAttr()))
           << " with "
           << cast<RankedTensorType>(linear.getInput().getType())
                  .getElementType()
           << " activations";
  if (failed(LinearEpilogue::verify(k.region)))
    return failure();
  return LinearKernel(k, linear, *dot).emit();
}
