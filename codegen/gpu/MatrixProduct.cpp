//===- MatrixProduct.cpp - Prefill's products on the tensor cores ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block has a tile of features, whole units of the partition, and of rows,
// which come as bf16, or as bytes with their scales. Steps of both operands'
// columns are copied to shared memory ahead of their use. The sums go to shared
// memory in the end, where each warp takes rows through the ops after the
// product.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/LinearEpilogue.h"
#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/PanelFragments.h"
#include "codegen/gpu/Region.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Features and rows that a block aims at: 64 sums in each thread. Half as many
/// features where weights become bytes, for which a thread needs registers.
static constexpr int64_t kBlockFeatures = 128, kBlockRows = 128;
/// Most steps that are in shared memory at a time.
static constexpr int64_t kStages = 3;

namespace {

class MatrixProduct {
public:
  MatrixProduct(Kernel &k, r1::LinearOp linear);
  Grid emit();

private:
  void chooseTile();
  /// Threads share out pieces of 16 bytes: calls `body` with each of `count`.
  void forPieces(int64_t count, function_ref<void(Value)> body);
  PanelFragments::Step stageAt(Value step);
  void startCopies(Value step);
  SmallVector<Value> emitSteps();
  void storeSums(ValueRange sums);

  Kernel &k;
  r1::LinearOp linear;
  r1::EncodingAttr encoding;
  PanelFragments fragments;
  Rows input;
  int64_t inputBytes; ///< Of a row's values; scales of bytes follow.
  int64_t panels, panelBytes, steps;
  int64_t unitFeatures, units, unitsTogether;
  int64_t blockPanels, blockFeatures, featureBlocks, rowTile;
  int64_t rowWarps, stages, stageBytes, sumStride;
  PanelFragments::Tile tile; ///< This warp's.

  Value weight, rowCount, firstRow, firstUnit, firstPanel, stage, sums;
};

} // namespace

bool sputnik::gpu::isMatrixProduct(r1::PhaseAttr phase, r1::LinearOp linear) {
  r1::EncodingAttr encoding =
      r1::getEncoding(r1::lookupWeightType(linear, linear.getWeightAttr()));
  if (phase.getKind() != r1::PhaseKind::Prefill ||
      !PanelFragments::supports(encoding))
    return false;
  Type element =
      cast<RankedTensorType>(linear.getInput().getType()).getElementType();
  return PanelFragments(encoding).isInteger() ? element.isInteger(8)
                                              : element.isBF16();
}

MatrixProduct::MatrixProduct(Kernel &k, r1::LinearOp linear)
    : k(k), linear(linear), encoding(r1::getEncoding(r1::lookupWeightType(
                                linear, linear.getWeightAttr()))),
      fragments(encoding), input(k.rows(linear.getInput())),
      inputBytes(fragments.isInteger()
                     ? llvm::alignTo(input.features, r1::kQuantBlock)
                     : input.features * 2) {
  RankedTensorType type = r1::lookupWeightType(linear, linear.getWeightAttr());
  panels = llvm::divideCeil(type.getDimSize(0), kPanel);
  panelBytes = encoding.getPanelBytes(input.features);
  steps = llvm::divideCeil(input.features, fragments.stepColumns());
  unitFeatures = k.region.getPartition()->getGranule();
  units = llvm::divideCeil(panels * kPanel, unitFeatures);
  chooseTile();
}

void MatrixProduct::chooseTile() {
  int64_t features = fragments.isInteger() ? kBlockFeatures / 2 : kBlockFeatures;
  unitsTogether = std::clamp<int64_t>(features / unitFeatures, 1, units);
  blockFeatures = unitsTogether * unitFeatures;
  blockPanels = blockFeatures / kPanel;
  featureBlocks = llvm::divideCeil(units, unitsTogether);
  int64_t featureWarps = std::gcd<int64_t>(blockPanels, 2);
  rowWarps = kWarps / featureWarps;
  int64_t fewest = 8 * rowWarps, maxRows = k.phase.getMaxRows();
  rowTile = std::max(
      std::min<int64_t>(kBlockRows, kBlockRows * features / blockFeatures) / fewest *
          fewest,
      fewest);
  auto bytes = [&] {
    return blockPanels * fragments.panelStepBytes() +
           rowTile * (PanelFragments::kRowBytes + 4);
  };
  // Smaller tiles where a quarter of the multiprocessors would have none, or
  // where two steps would not fit.
  while (rowTile / 2 >= fewest &&
         (rowTile / 2 >= maxRows || 2 * bytes() > k.target.getL1() ||
          4 * featureBlocks * llvm::divideCeilSigned(maxRows, rowTile) <
              3 * k.target.getCores()))
    rowTile = rowTile / fewest / 2 * fewest;
  stageBytes = llvm::alignTo(bytes(), 128);
  stages = std::clamp<int64_t>(k.target.getL1() / stageBytes, 2, kStages);
  // Lanes of a warp that have other rows have other banks.
  sumStride = (blockFeatures + 4) * 4;
  tile.panels = blockPanels / featureWarps;
  tile.rowGroups = rowTile / fewest;
  tile.firstPanel = k.mul(k.div(k.warp, rowWarps), tile.panels);
  tile.firstRow = k.mul(k.rem(k.warp, rowWarps), 8 * tile.rowGroups);
}

void MatrixProduct::forPieces(int64_t count, function_ref<void(Value)> body) {
  for (int64_t first = 0; first < count; first += kThreads) {
    Value piece = k.add(k.thread, first);
    if (first + kThreads <= count)
      body(piece);
    else
      k.ifThen(k.less(piece, k.i64(count)), [&] { body(piece); });
  }
}

/// Where a step lies while it is in shared memory.
PanelFragments::Step MatrixProduct::stageAt(Value step) {
  Value rows = k.at(stage, k.mul(k.rem(step, stages), stageBytes));
  Value panels = k.at(rows, rowTile * PanelFragments::kRowBytes);
  return {panels, rows, k.at(panels, blockPanels * fragments.panelStepBytes())};
}

void MatrixProduct::startCopies(Value step) {
  PanelFragments::Step to = stageAt(step);
  // Beyond the end of a row or panel there are zeros.
  auto copy = [&](Value target, Value row, Value offset, int64_t bytes) {
    Value left = k.sub(k.i64(bytes), offset);
    k.copyAsync(target, k.at(row, offset), k.min(left, k.i64(16)));
  };
  auto rowAt = [&](Value row) {
    Value index = k.min(k.add(firstRow, row), k.sub(rowCount, k.i64(1)));
    return k.rowPtr(input, index);
  };
  constexpr int64_t pieces = PanelFragments::kRowBytes / 16;
  forPieces(rowTile * pieces, [&](Value piece) {
    Value row = k.div(piece, pieces);
    Value offset = k.mul(k.rem(piece, pieces), 16);
    copy(k.at(to.rows, fragments.placeInRow(k, row, offset)), rowAt(row),
         k.add(k.mul(step, PanelFragments::kRowBytes), offset), inputBytes);
  });
  int64_t stepBytes = fragments.panelStepBytes();
  forPieces(blockPanels * stepBytes / 16, [&](Value piece) {
    Value panel = k.div(piece, stepBytes / 16);
    Value offset = k.mul(k.rem(piece, stepBytes / 16), 16);
    // Panels beyond the last are the last again; nobody reads their sums.
    Value index = k.min(k.add(firstPanel, panel), k.i64(panels - 1));
    copy(k.at(to.panels, k.add(k.mul(panel, stepBytes),
                               fragments.placeInPanel(k, offset))),
         k.at(weight, k.mul(index, panelBytes)),
         k.add(k.mul(step, stepBytes), offset),
         fragments.panelBytes(input.features));
  });
  if (fragments.isInteger())
    forPieces(rowTile, [&](Value row) {
      Value group = k.div(step, r1::kActivationGroup / fragments.stepColumns());
      k.copyWordAsync(k.at(to.scales, k.mul(row, 4)),
                      k.at(rowAt(row), k.add(k.mul(group, 4), inputBytes)));
    });
}

SmallVector<Value> MatrixProduct::emitSteps() {
  auto start = [&](Value step) {
    k.ifThen(k.less(step, k.i64(steps)), [&] { startCopies(step); });
    // A group without copies keeps the count of groups.
    k.commitCopies();
  };
  for (int64_t step = 0; step < stages - 1; ++step)
    start(k.i64(step));
  SmallVector<Value> zeros(4 * tile.panels * tile.rowGroups, k.f32(0));
  Value anyRow = k.less(k.add(firstRow, tile.firstRow), rowCount);
  return k.loop(k.i64(0), k.i64(steps), 1, zeros,
                [&](Value step, ValueRange before) {
                  k.waitForCopies(stages - 2);
                  // Everybody's copies are there, and everybody is done with
                  // the step whose place the next copies take.
                  k.barrier();
                  start(k.add(step, stages - 1));
                  return k.ifThenElse(anyRow, before, [&] {
                    return fragments.multiply(k, stageAt(step), tile, before);
                  });
                });
}

/// sums[row][feature] = what the warps have found, and bias.
void MatrixProduct::storeSums(ValueRange found) {
  Value bias;
  int64_t biasCount = 0;
  if (linear.getBiasAttr()) {
    bias = k.weightPtr(linear, linear.getBiasAttr(), linear.getLayer());
    biasCount =
        r1::lookupWeightType(linear, linear.getBiasAttr()).getDimSize(0);
  }
  k.barrier();
  for (int64_t m = 0; m < tile.panels; ++m)
    for (int64_t half = 0; half < 2; ++half) {
      Value inPanel = fragments.feature(k, 2 * half);
      Value inBlock = k.add(tile.firstPanel, m);
      Value panel = k.min(k.add(firstPanel, inBlock), k.i64(panels - 1));
      Value scale = fragments.featureScale(
          k, k.at(weight, k.mul(panel, panelBytes)), input.features, inPanel);
      Value feature = k.add(k.mul(inBlock, kPanel), inPanel);
      Value offset;
      if (bias) {
        Value index = k.add(k.mul(firstPanel, kPanel), feature);
        offset =
            k.load(k.f32Type(),
                   k.at(bias, k.mul(k.min(index, k.i64(biasCount - 1)), 4)), 4);
      }
      for (int64_t n = 0; n < tile.rowGroups; ++n)
        for (int64_t i = 2 * half; i < 2 * half + 2; ++i) {
          Value sum = found[4 * (m * tile.rowGroups + n) + i];
          if (scale)
            sum = k.mulf(sum, scale);
          if (offset)
            sum = k.addf(sum, offset);
          Value row = k.add(k.add(tile.firstRow, 8 * n), fragments.row(k, i));
          k.store(sum,
                  k.at(sums, k.add(k.mul(row, sumStride), k.mul(feature, 4))),
                  4);
        }
    }
  k.barrier();
}

Grid MatrixProduct::emit() {
  weight = k.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  rowCount = k.countOf(linear.getInput());
  // Blocks that run together have the same features and all rows, so that the
  // weights come from memory once.
  Value rowTiles = k.ceilDiv(rowCount, rowTile);
  Value index = k.add(k.mul(k.rowTile, featureBlocks), k.block);
  Value featureBlock = k.div(index, rowTiles);
  firstRow = k.mul(k.sub(index, k.mul(featureBlock, rowTiles)), rowTile);
  firstUnit = k.mul(featureBlock, unitsTogether);
  firstPanel = k.mul(firstUnit, unitFeatures / kPanel);

  int64_t mark = k.sharedMark();
  stage = k.allocateShared(stages * stageBytes);
  SmallVector<Value> found = emitSteps();
  k.waitForCopies(0);
  // Nobody copies any more when the sums take the place of the steps.
  k.restoreShared(mark);
  sums = k.allocateShared(rowTile * sumStride);
  storeSums(found);
  Value rows = k.min(k.sub(rowCount, firstRow), k.i64(rowTile));
  LinearEpilogue(k, linear).emit(
      {sums, firstRow, rows, sumStride, firstUnit, unitsTogether}, units,
      unitFeatures);
  return {featureBlocks, rowTile};
}

FailureOr<Grid> sputnik::gpu::emitMatrixProduct(Kernel &k,
                                                r1::LinearOp linear) {
  if (failed(LinearEpilogue::verify(k.region)))
    return failure();
  return MatrixProduct(k, linear).emit();
}
