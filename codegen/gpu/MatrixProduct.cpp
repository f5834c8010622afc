//===- MatrixProduct.cpp - Prefill's products on the tensor cores ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block has a tile of features, whole units of the partition, and of rows.
// Each warp takes rows of the sums through the ops after the product.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/LinearEpilogue.h"
#include "codegen/gpu/Region.h"
#include "codegen/gpu/TileProduct.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Features and rows that a block aims at: 64 sums in each thread. Half as many
/// features where weights become bytes, for which a thread needs registers.
static constexpr int64_t kBlockFeatures = 128, kBlockRows = 128;

namespace {

class MatrixProduct {
public:
  MatrixProduct(Kernel &k, r1::LinearOp linear);
  Grid emit();

private:
  void chooseTile();
  void emitEpilogue(Value sums, int64_t sumStride);

  Kernel &k;
  r1::LinearOp linear;
  r1::EncodingAttr encoding;
  Rows input;
  int64_t panels, panelBytes;
  int64_t unitFeatures, units, unitsTogether, featureBlocks;
  TileProduct::Shape tile;

  Value rowCount, firstRow, firstUnit;
};

} // namespace

bool sputnik::gpu::isMatrixProduct(r1::PhaseAttr phase, r1::LinearOp linear) {
  return phase.getKind() == r1::PhaseKind::Prefill &&
         TileProduct::supports(
             r1::getEncoding(
                 r1::lookupWeightType(linear, linear.getWeightAttr())),
             cast<RankedTensorType>(linear.getInput().getType())
                 .getElementType());
}

MatrixProduct::MatrixProduct(Kernel &k, r1::LinearOp linear)
    : k(k), linear(linear), encoding(r1::getEncoding(r1::lookupWeightType(
                                linear, linear.getWeightAttr()))),
      input(k.rows(linear.getInput())) {
  RankedTensorType type = r1::lookupWeightType(linear, linear.getWeightAttr());
  panels = llvm::divideCeil(type.getDimSize(0), kPanel);
  panelBytes = encoding.getPanelBytes(input.features);
  unitFeatures = k.region.getPartition()->getGranule();
  units = llvm::divideCeil(panels * kPanel, unitFeatures);
  chooseTile();
}

void MatrixProduct::chooseTile() {
  int64_t features = PanelFragments(encoding).isInteger() ? kBlockFeatures / 2
                                                          : kBlockFeatures;
  unitsTogether = std::clamp<int64_t>(features / unitFeatures, 1, units);
  int64_t blockFeatures = unitsTogether * unitFeatures;
  featureBlocks = llvm::divideCeil(units, unitsTogether);
  tile.panels = blockFeatures / kPanel;
  tile.featureWarps = std::gcd<int64_t>(tile.panels, 2);
  int64_t fewest = 8 * kWarps / tile.featureWarps;
  int64_t maxRows = k.phase.getMaxRows();
  tile.rows = std::max(std::min<int64_t>(kBlockRows, kBlockRows * features /
                                                         blockFeatures) /
                           fewest * fewest,
                       fewest);
  // Smaller tiles where a quarter of the multiprocessors would have none, or
  // where two steps would not fit.
  while (tile.rows / 2 >= fewest &&
         (tile.rows / 2 >= maxRows ||
          2 * TileProduct::getStepBytes(encoding, tile) > k.target.getL1() ||
          4 * featureBlocks * llvm::divideCeilSigned(maxRows, tile.rows) <
              3 * k.target.getCores()))
    tile.rows = tile.rows / fewest / 2 * fewest;
}

void MatrixProduct::emitEpilogue(Value sums, int64_t sumStride) {
  LinearEpilogue epilogue(k, linear);
  Value rows = k.min(k.sub(rowCount, firstRow), k.i64(tile.rows));
  k.asWarps([&] {
    k.loop(k.warp, rows, kWarps, [&](Value t) {
      k.loop(k.i64(0), k.i64(unitsTogether), 1, [&](Value u) {
        Value unit = k.add(firstUnit, u);
        k.ifThen(k.less(unit, k.i64(units)), [&] {
          Value own = k.at(
              sums, k.add(k.mul(t, sumStride), k.mul(u, unitFeatures * 4)));
          epilogue.emit(k.add(firstRow, t), own, k.mul(unit, unitFeatures),
                        unitFeatures);
        });
      });
    });
  });
}

Grid MatrixProduct::emit() {
  Value weight =
      k.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  rowCount = k.countOf(linear.getInput());
  // Blocks that run together have the same features and all rows, so that the
  // weights come from memory once.
  Value rowTiles = k.ceilDiv(rowCount, tile.rows);
  Value index = k.add(k.mul(k.rowTile, featureBlocks), k.block);
  Value featureBlock = k.div(index, rowTiles);
  firstRow = k.mul(k.sub(index, k.mul(featureBlock, rowTiles)), tile.rows);
  firstUnit = k.mul(featureBlock, unitsTogether);
  Value firstPanel = k.mul(firstUnit, unitFeatures / kPanel);

  TileProduct product(k, encoding, input.features, tile);
  int64_t valueBytes = PanelFragments(encoding).isInteger()
                           ? llvm::alignTo(input.features, r1::kQuantBlock)
                           : input.features * 2;
  // Panels beyond the last are the last again; nobody reads their sums.
  auto panelAt = [&](Value panel) {
    Value index = k.min(k.add(firstPanel, panel), k.i64(panels - 1));
    return k.at(weight, k.mul(index, panelBytes));
  };
  auto rowAt = [&](Value row) -> PanelDot::Row {
    Value values = k.rowPtr(input, k.add(firstRow, row));
    return {values, k.at(values, valueBytes)};
  };
  function_ref<Value(Value)> offsetOf;
  Value bias;
  int64_t biasCount = 0;
  auto biasOf = [&](Value feature) {
    Value index = k.add(k.mul(firstPanel, kPanel), feature);
    return k.load(k.f32Type(),
                  k.at(bias, k.mul(k.min(index, k.i64(biasCount - 1)), 4)), 4);
  };
  if (linear.getBiasAttr()) {
    bias = k.weightPtr(linear, linear.getBiasAttr(), linear.getLayer());
    biasCount =
        r1::lookupWeightType(linear, linear.getBiasAttr()).getDimSize(0);
    offsetOf = biasOf;
  }
  Value sums = product.emit({panelAt, rowAt, k.sub(rowCount, firstRow)},
                            offsetOf);
  emitEpilogue(sums, product.getSumStride());
  return {featureBlocks, tile.rows};
}

FailureOr<Grid> sputnik::gpu::emitMatrixProduct(Kernel &k,
                                                r1::LinearOp linear) {
  if (failed(LinearEpilogue::verify(k.region)))
    return failure();
  return MatrixProduct(k, linear).emit();
}
