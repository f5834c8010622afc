//===- TileProduct.cpp - A tile of a product on the tensor cores ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/TileProduct.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Most steps that are in shared memory at a time.
static constexpr int64_t kStages = 3;

bool TileProduct::supports(r1::EncodingAttr encoding, Type element) {
  if (!PanelFragments::supports(encoding))
    return false;
  return PanelFragments(encoding).isInteger() ? element.isInteger(8)
                                              : element.isBF16();
}

int64_t TileProduct::getStepBytes(r1::EncodingAttr encoding,
                                  const Shape &shape) {
  return shape.panels * PanelFragments(encoding).panelStepBytes() +
         shape.rows * (PanelFragments::kRowBytes + 4);
}

TileProduct::TileProduct(Kernel &k, r1::EncodingAttr encoding, int64_t columns,
                         const Shape &shape)
    : k(k), fragments(encoding), columns(columns),
      steps(llvm::divideCeil(columns, fragments.stepColumns())),
      rowBytes(fragments.isInteger() ? llvm::alignTo(columns, r1::kQuantBlock)
                                     : columns * 2),
      shape(shape),
      stageBytes(llvm::alignTo(getStepBytes(encoding, shape), 128)) {
  stages = std::clamp<int64_t>(k.target.getL1() / stageBytes, 2, kStages);
  int64_t rowWarps = kWarps / shape.featureWarps;
  tile.panels = shape.panels / shape.featureWarps;
  tile.rowGroups = shape.rows / (8 * rowWarps);
  tile.firstPanel = k.mul(k.div(k.warp, rowWarps), tile.panels);
  tile.firstRow = k.mul(k.rem(k.warp, rowWarps), 8 * tile.rowGroups);
}

/// Lanes of a warp that have other rows have other banks.
int64_t TileProduct::getSumStride() const {
  return (shape.panels * kPanel + 4) * 4;
}

/// Threads share out pieces of 16 bytes: calls `body` with each of `count`.
void TileProduct::forPieces(int64_t count, function_ref<void(Value)> body) {
  for (int64_t first = 0; first < count; first += kThreads) {
    Value piece = k.add(k.thread, first);
    if (first + kThreads <= count)
      body(piece);
    else
      k.ifThen(k.less(piece, k.i64(count)), [&] { body(piece); });
  }
}

/// Where a step lies while it is in shared memory.
PanelFragments::Step TileProduct::stepAt(Value step) {
  Value rows = k.at(stage, k.mul(k.rem(step, stages), stageBytes));
  Value panels = k.at(rows, shape.rows * PanelFragments::kRowBytes);
  return {panels, rows,
          k.at(panels, shape.panels * fragments.panelStepBytes())};
}

void TileProduct::startCopies(const Operands &operands, Value step) {
  PanelFragments::Step to = stepAt(step);
  // Beyond the end of a row or panel there are zeros.
  auto copy = [&](Value target, Value row, Value offset, int64_t bytes) {
    Value left = k.sub(k.i64(bytes), offset);
    k.copyAsync(target, k.at(row, offset), k.min(left, k.i64(16)));
  };
  // Rows beyond the last are the last again; nobody reads their sums.
  auto rowAt = [&](Value row) {
    return operands.rowAt(k.min(row, k.sub(operands.rowCount, k.i64(1))));
  };
  constexpr int64_t pieces = PanelFragments::kRowBytes / 16;
  forPieces(shape.rows * pieces, [&](Value piece) {
    Value row = k.div(piece, pieces);
    Value offset = k.mul(k.rem(piece, pieces), 16);
    copy(k.at(to.rows, fragments.placeInRow(k, row, offset)), rowAt(row).values,
         k.add(k.mul(step, PanelFragments::kRowBytes), offset), rowBytes);
  });
  int64_t stepBytes = fragments.panelStepBytes();
  forPieces(shape.panels * stepBytes / 16, [&](Value piece) {
    Value panel = k.div(piece, stepBytes / 16);
    Value offset = k.mul(k.rem(piece, stepBytes / 16), 16);
    copy(k.at(to.panels, k.add(k.mul(panel, stepBytes),
                               fragments.placeInPanel(k, offset))),
         operands.panelAt(panel), k.add(k.mul(step, stepBytes), offset),
         fragments.panelBytes(columns));
  });
  if (fragments.isInteger())
    forPieces(shape.rows, [&](Value row) {
      Value group = k.div(step, r1::kActivationGroup / fragments.stepColumns());
      k.copyWordAsync(k.at(to.scales, k.mul(row, 4)),
                      k.at(rowAt(row).scales, k.mul(group, 4)));
    });
}

SmallVector<Value> TileProduct::emitSteps(const Operands &operands) {
  auto start = [&](Value step) {
    k.ifThen(k.less(step, k.i64(steps)), [&] { startCopies(operands, step); });
    // A group without copies keeps the count of groups.
    k.commitCopies();
  };
  for (int64_t step = 0; step < stages - 1; ++step)
    start(k.i64(step));
  SmallVector<Value> zeros(4 * tile.panels * tile.rowGroups, k.f32(0));
  Value anyRow = k.less(tile.firstRow, operands.rowCount);
  return k.loop(k.i64(0), k.i64(steps), 1, zeros,
                [&](Value step, ValueRange before) {
                  k.waitForCopies(stages - 2);
                  // Everybody's copies are there, and everybody is done with
                  // the step whose place the next copies take.
                  k.barrier();
                  start(k.add(step, stages - 1));
                  return k.ifThenElse(anyRow, before, [&] {
                    return fragments.multiply(k, stepAt(step), tile, before);
                  });
                });
}

/// sums[row][feature] = what the warps have found, and the feature's offset.
void TileProduct::storeSums(const Operands &operands, ValueRange found,
                            function_ref<Value(Value)> offsetOf) {
  for (int64_t m = 0; m < tile.panels; ++m)
    for (int64_t half = 0; half < 2; ++half) {
      Value inPanel = fragments.feature(k, 2 * half);
      Value panel = k.add(tile.firstPanel, m);
      Value scale = fragments.featureScale(k, operands.panelAt(panel), columns,
                                           inPanel);
      Value feature = k.add(k.mul(panel, kPanel), inPanel);
      Value offset = offsetOf ? offsetOf(feature) : Value();
      for (int64_t n = 0; n < tile.rowGroups; ++n)
        for (int64_t i = 2 * half; i < 2 * half + 2; ++i) {
          Value sum = found[4 * (m * tile.rowGroups + n) + i];
          if (scale)
            sum = k.mulf(sum, scale);
          if (offset)
            sum = k.addf(sum, offset);
          Value row = k.add(k.add(tile.firstRow, 8 * n), fragments.row(k, i));
          k.store(
              sum,
              k.at(sums, k.add(k.mul(row, getSumStride()), k.mul(feature, 4))),
              4);
        }
    }
}

Value TileProduct::emit(const Operands &operands,
                        function_ref<Value(Value)> offsetOf) {
  int64_t mark = k.sharedMark();
  stage = k.allocateShared(stages * stageBytes);
  SmallVector<Value> found = emitSteps(operands);
  k.waitForCopies(0);
  // Nobody copies any more when the sums take the place of the steps.
  k.restoreShared(mark);
  sums = k.allocateShared(shape.rows * getSumStride());
  k.barrier();
  storeSums(operands, found, offsetOf);
  k.barrier();
  return sums;
}
