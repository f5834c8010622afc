//===- WarpgroupProduct.cpp - Prefill's products by warpgroups ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One block runs on each multiprocessor and takes tiles in turn: whole units of
// the partition, and rows.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/Chip.h"
#include "codegen/gpu/LinearEpilogue.h"
#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/Region.h"
#include "codegen/gpu/WarpgroupTiles.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Rows of a tile are a multiple.
static constexpr int64_t kRowStep = 32;

namespace {

class WarpgroupProduct {
public:
  WarpgroupProduct(Kernel &k, r1::LinearOp linear);
  /// Whether a block's shared memory does.
  bool fits() const { return withRows(shape.rows).fits(); }
  Grid emit();

private:
  void chooseTile();
  WarpgroupTiles withRows(int64_t rows) const {
    return WarpgroupTiles(k, encoding, input.features, {shape.panels, rows},
                          /*reserved=*/kWarps * unitFeatures * 8 + 1024);
  }

  Kernel &k;
  r1::LinearOp linear;
  Rows input;
  r1::EncodingAttr encoding;
  int64_t panels, unitFeatures, units, unitsTogether, featureBlocks;
  WarpgroupTiles::Shape shape;
  int64_t blocks;
};

} // namespace

bool sputnik::gpu::isWarpgroupProduct(r1::PhaseAttr phase, r1::LinearOp linear,
                                      r1::TargetAttr target) {
  r1::EncodingAttr encoding =
      r1::getEncoding(r1::lookupWeightType(linear, linear.getWeightAttr()));
  Type element = getElementTypeOrSelf(linear.getInput().getType());
  return hasWarpgroupProducts(target) &&
         phase.getKind() == r1::PhaseKind::Prefill &&
         WarpgroupWeights::supports(encoding, element);
}

WarpgroupProduct::WarpgroupProduct(Kernel &k, r1::LinearOp linear)
    : k(k), linear(linear), input(k.rows(linear.getInput())) {
  RankedTensorType type = r1::lookupWeightType(linear, linear.getWeightAttr());
  encoding = r1::getEncoding(type);
  panels = llvm::divideCeil(type.getDimSize(0), kPanel);
  unitFeatures = k.region.getPartition()->getGranule();
  units = llvm::divideCeil(panels * kPanel, unitFeatures);
  chooseTile();
}

void WarpgroupProduct::chooseTile() {
  int64_t unitPanels = unitFeatures / kPanel;
  unitsTogether = std::clamp<int64_t>(
      WarpgroupWeights::kGroupPanels / unitPanels, 1, units);
  shape.panels = unitsTogether * unitPanels;
  featureBlocks = llvm::divideCeil(units, unitsTogether);
  // The tile whose rounds over the multiprocessors take the least time.
  int64_t maxRows = k.phase.getMaxRows(), cores = k.target.getCores();
  int64_t best = INT64_MAX;
  shape.rows = kRowStep;
  for (int64_t rows = kRowStep;
       rows <= WarpgroupTiles::getMostRows(shape.panels); rows += kRowStep) {
    int64_t tiles = featureBlocks * llvm::divideCeil(maxRows, rows);
    int64_t time = llvm::divideCeil(tiles, cores) *
                   (rows + WarpgroupTiles::getStepCost(encoding));
    if (time > best || !withRows(rows).fits())
      continue;
    best = time;
    shape.rows = rows;
  }
  blocks = std::min<int64_t>(
      cores, featureBlocks * llvm::divideCeil(maxRows, shape.rows));
}

Grid WarpgroupProduct::emit() {
  Value weight =
      k.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  Value rowCount = k.countOf(linear.getInput());
  Value rowTiles = k.ceilDiv(rowCount, shape.rows);
  // Blocks that run together have the same features and all rows, so that the
  // weights come from memory once.
  auto forTiles = [&](ValueRange carried, WarpgroupTiles::TileBody body) {
    return k.loop(
        k.block, k.mul(rowTiles, featureBlocks), blocks, carried,
        [&](Value index, ValueRange values) {
          Value featureBlock = k.div(index, rowTiles);
          Value rowTile = k.sub(index, k.mul(featureBlock, rowTiles));
          Value firstRow = k.mul(rowTile, shape.rows);
          return body({weight, k.mul(featureBlock, shape.panels), firstRow,
                       k.sub(rowCount, firstRow)},
                      values);
        });
  };
  auto rowAt = [&](Value row) { return k.rowPtr(input, row); };
  function_ref<Value(Value, Value)> offsetOf;
  Value bias;
  int64_t biasCount = 0;
  auto biasOf = [&](Value panel, Value row) {
    Value feature = k.min(k.add(k.mul(panel, kPanel), row),
                          k.i64(biasCount - 1));
    return k.load(k.f32Type(), k.at(bias, k.mul(feature, 4)), 4);
  };
  if (linear.getBiasAttr()) {
    bias = k.weightPtr(linear, linear.getBiasAttr(), linear.getLayer());
    biasCount =
        r1::lookupWeightType(linear, linear.getBiasAttr()).getDimSize(0);
    offsetOf = biasOf;
  }
  WarpgroupTiles tiles = withRows(shape.rows);
  LinearEpilogue epilogue(k, linear);
  tiles.emit({panels, forTiles, rowAt, offsetOf,
              [&](const WarpgroupTiles::Tile &tile,
                  const WarpgroupTiles::Piece &piece) {
                Value firstUnit =
                    k.div(tile.firstPanel, unitFeatures / kPanel);
                epilogue.emit({piece.sums, k.add(tile.firstRow, piece.firstRow),
                               piece.rows, tiles.getSumStride(), firstUnit,
                               unitsTogether},
                              units, unitFeatures);
              }});
  return {blocks, k.phase.getMaxRows()};
}

FailureOr<Grid> sputnik::gpu::emitWarpgroupProduct(Kernel &k,
                                                   r1::LinearOp linear) {
  if (failed(LinearEpilogue::verify(k.region)))
    return failure();
  WarpgroupProduct product(k, linear);
  if (product.fits())
    return product.emit();
  if (isMatrixProduct(k.phase, linear))
    return emitMatrixProduct(k, linear);
  return linear.emitOpError("has units of more features than the shared memory "
                            "of ")
         << k.target.getCpu() << " holds";
}
