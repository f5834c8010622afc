//===- ExpertsProduct.cpp - Prefill's experts on the tensor cores ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One product for each expert with the rows that chose it, in one grid: slots
// are sorted by expert, and a block has a tile of features of one expert and
// goes through the slots of that. Blocks of experts that nobody chose end at
// once. Where warpgroups multiply, a block on each multiprocessor takes such
// tiles in turn. What comes down is kept for each slot, so that a last kernel
// can add a row's slots in their order.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/Chip.h"
#include "codegen/gpu/Region.h"
#include "codegen/gpu/RowOps.h"
#include "codegen/gpu/SortedSlots.h"
#include "codegen/gpu/TileProduct.h"
#include "codegen/gpu/WarpgroupTiles.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// Panels of a block.
constexpr int64_t kBlockPanels = 8;
/// Most rows of a tile: 64 sums in each thread, half as many where weights
/// change their form, for which a thread needs registers.
constexpr int64_t kMostRows = 128;
/// Rows of a tile of warpgroups are a multiple.
constexpr int64_t kWarpgroupRows = 16;

/// The matrices of one weight, and the rows of its input.
class ExpertsProduct {
public:
  ExpertsProduct(Kernel &k, Operation *op, FlatSymbolRefAttr weight,
                 Value layer, int64_t experts, Value input, Value chosen)
      : k(k), experts(experts), input(k.rows(input)),
        sorted(k, chosen, experts), type(r1::lookupWeightType(op, weight)),
        encoding(r1::getEncoding(type)), columns(type.getDimSize(1)),
        panels(type.getDimSize(0) / experts / kPanel),
        panelBytes(encoding.getPanelBytes(columns)),
        featureBlocks(llvm::divideCeil(panels, kBlockPanels)),
        warpgroups(hasWarpgroupProducts(k.target) &&
                   this->input.element.isBF16()),
        base(k.weightPtr(op, weight, layer)) {
    chooseTile(k.rows(chosen).features);
  }

  Grid emitSort() { return sorted.emitSort(); }

  /// Calls `body(slot, panel, sums)` with the sums, in shared memory, of panels
  /// from `panel` on for one slot; the team is a warp.
  using Body = function_ref<void(SortedSlots::Slot, Value, Value)>;
  Grid emit(Body body) {
    return warpgroups ? emitByWarpgroups(body) : emitByWarps(body);
  }

  /// Of one expert, and of a block.
  int64_t getPanels() const { return panels; }
  int64_t getBlockPanels() const { return tile.panels; }

private:
  void chooseTile(int64_t slots);
  PanelDot::Row rowAt(Value place);
  Grid emitByWarps(Body body);
  Grid emitByWarpgroups(Body body);
  /// Calls `body` for `count` slots from `first` of the order on, whose sums
  /// lie `stride` bytes apart.
  void forSlots(Value first, Value count, Value panel, Value sums,
                int64_t stride, Body body);

  Kernel &k;
  int64_t experts;
  Rows input;
  SortedSlots sorted;
  RankedTensorType type;
  r1::EncodingAttr encoding;
  int64_t columns, panels, panelBytes, featureBlocks;
  bool warpgroups;
  TileProduct::Shape tile;
  Value base;
};

} // namespace

/// Twice the rows that an expert has if all are chosen equally often.
void ExpertsProduct::chooseTile(int64_t slots) {
  int64_t rows = 2 * llvm::divideCeil(k.phase.getMaxRows() * slots, experts);
  tile.panels = kBlockPanels;
  if (warpgroups) {
    tile.rows = std::clamp<int64_t>(llvm::alignTo(rows, kWarpgroupRows),
                                    kWarpgroupRows, kMostRows);
    return;
  }
  int64_t most =
      PanelFragments(encoding).converts() ? kMostRows / 2 : kMostRows;
  tile.rows = std::clamp<int64_t>(llvm::PowerOf2Ceil(rows), 8, most);
  // Groups of eight rows that share a fragment of weights: up to four.
  int64_t rowWarps = std::clamp<int64_t>(tile.rows / 32, 1, kWarps / 2);
  tile.featureWarps = kWarps / rowWarps;
}

/// All slots of a row have the same input, or each a part of it.
PanelDot::Row ExpertsProduct::rowAt(Value place) {
  SortedSlots::Slot slot = sorted.slotAt(place);
  Value row = k.rowPtr(input, slot.row);
  Value part = input.features == columns ? k.i64(0) : slot.slot;
  Value values =
      k.at(row, k.mul(part, columns * k.bytesOf(input.element)));
  Value scales =
      k.at(row, k.add(k.mul(part, columns / r1::kActivationGroup * 4),
                      llvm::alignTo(input.features, r1::kQuantBlock)));
  return {values, scales};
}

void ExpertsProduct::forSlots(Value first, Value count, Value panel,
                              Value sums, int64_t stride, Body body) {
  k.asWarps([&] {
    k.loop(k.warp, count, kWarps, [&](Value t) {
      body(sorted.slotAt(k.add(first, t)), panel,
           k.at(sums, k.mul(t, stride)));
    });
  });
}

Grid ExpertsProduct::emitByWarpgroups(Body body) {
  int64_t all = experts * featureBlocks;
  int64_t blocks = std::min(k.target.getCores(), all);
  auto forTiles = [&](ValueRange carried, WarpgroupTiles::TileBody tileBody) {
    return k.loop(
        k.block, k.i64(all), blocks, carried,
        [&](Value index, ValueRange values) {
          Value expert = k.div(index, featureBlocks);
          Value firstPanel = k.mul(k.rem(index, featureBlocks), tile.panels);
          Value weight = k.at(base, k.mul(expert, panels * panelBytes));
          SortedSlots::Range range = sorted.rangeOf(expert);
          return k.loop(k.i64(0), range.count, tile.rows, values,
                        [&](Value done, ValueRange inner) {
                          return tileBody({weight, firstPanel,
                                           k.add(range.first, done),
                                           k.sub(range.count, done)},
                                          inner);
                        });
        });
  };
  WarpgroupTiles tiles(k, encoding, columns, {tile.panels, tile.rows},
                       /*reserved=*/0);
  tiles.emit({panels, forTiles,
              [&](Value place) { return rowAt(place).values; },
              /*offsetOf=*/{},
              [&](const WarpgroupTiles::Tile &own,
                  const WarpgroupTiles::Piece &piece) {
                forSlots(k.add(own.firstRow, piece.firstRow), piece.rows,
                         own.firstPanel, piece.sums, tiles.getSumStride(),
                         body);
              }});
  return {blocks, k.phase.getMaxRows()};
}

Grid ExpertsProduct::emitByWarps(Body body) {
  Value expert = k.div(k.block, featureBlocks);
  Value firstPanel = k.mul(k.rem(k.block, featureBlocks), tile.panels);
  SortedSlots::Range range = sorted.rangeOf(expert);
  TileProduct product(k, encoding, columns, tile);
  k.loop(k.i64(0), range.count, tile.rows, [&](Value done) {
    // The last sums may still be read.
    k.barrier();
    Value first = k.add(range.first, done);
    Value count = k.sub(range.count, done);
    // Panels beyond the last are the last again; nobody reads their sums.
    auto panelAt = [&](Value panel) {
      Value inside = k.min(k.add(firstPanel, panel), k.i64(panels - 1));
      Value index = k.add(k.mul(expert, panels), inside);
      return k.at(base, k.mul(index, panelBytes));
    };
    Value sums = product.emit(
        {panelAt, [&](Value row) { return rowAt(k.add(first, row)); }, count});
    forSlots(first, k.min(count, k.i64(tile.rows)), firstPanel, sums,
             product.getSumStride(), body);
  });
  return {experts * featureBlocks, k.phase.getMaxRows()};
}

/// Whether rows of `input`, of which each slot may have a part, are copied in
/// pieces of 16 bytes.
static bool isCopied(Operation *op, FlatSymbolRefAttr weight, Value input,
                     r1::TargetAttr target) {
  RankedTensorType type = r1::lookupWeightType(op, weight);
  auto rows = cast<RankedTensorType>(input.getType());
  int64_t partBytes = type.getDimSize(1) * rows.getElementTypeBitWidth() / 8;
  r1::EncodingAttr encoding = r1::getEncoding(type);
  Type element = rows.getElementType();
  bool multiplies =
      TileProduct::supports(encoding, element) ||
      (hasWarpgroupProducts(target) &&
       WarpgroupWeights::supports(encoding, element));
  return multiplies &&
         (type.getDimSize(1) == rows.getDimSize(1) || partBytes % 16 == 0);
}

bool sputnik::gpu::isExpertsProduct(r1::PhaseAttr phase, r1::ExpertsUpOp op,
                                    r1::TargetAttr target) {
  return phase.getKind() == r1::PhaseKind::Prefill && !op.getUpAttr() &&
         op.getBlock() == kPanel &&
         isCopied(op, op.getGateAttr(), op.getInput(), target);
}

bool sputnik::gpu::isExpertsProduct(r1::PhaseAttr phase,
                                    r1::ExpertsDownOp op,
                                    r1::TargetAttr target) {
  return phase.getKind() == r1::PhaseKind::Prefill &&
         isCopied(op, op.getDownAttr(), op.getInput(), target);
}

FailureOr<Grid> sputnik::gpu::emitExpertsProduct(Kernel &k,
                                                 r1::ExpertsUpOp op,
                                                 ExpertsStage stage) {
  ExpertsProduct experts(k, op, op.getGateAttr(), op.getLayer(),
                         op.getExperts(), op.getInput(), op.getChosen());
  if (stage == ExpertsStage::Sort)
    return experts.emitSort();
  int64_t inner = op.getSlotFeatures();
  int64_t features = experts.getBlockPanels() / 2 * kPanel;
  const Rows &out = k.rows(op.getResult());
  return experts.emit([&](SortedSlots::Slot slot, Value panel, Value sums) {
    Value first = k.mul(k.div(panel, 2), kPanel);
    Value to = k.at(k.rowPtr(out, slot.row), k.mul(slot.slot, inner * 4));
    emitSwiGLUPanels(k, sums, first, features, inner, to);
  });
}

/// The factors times what the slots of a row found, in the order of slots.
static Grid emitCombine(Kernel &k, r1::ExpertsDownOp op, Value products) {
  int64_t slots = op.getChosen().getType().getDimSize(1);
  int64_t features = op.getType().getDimSize(1);
  Value factors = k.rowPtr(k.rows(op.getFactors()), k.rowTile);
  Value own = k.at(products, k.mul(k.rowTile, slots * features * 4));
  Value feature = k.add(k.mul(k.block, kThreads), k.thread);
  k.ifThen(k.less(feature, k.i64(features)), [&] {
    Value sum = k.f32(0);
    for (int64_t slot = 0; slot < slots; ++slot) {
      Value factor = k.load(k.f32Type(), k.at(factors, slot * 4), 4);
      Value at = k.add(feature, slot * features);
      sum = k.fma(factor, k.load(k.f32Type(), k.at(own, k.mul(at, 4)), 4), sum);
    }
    k.store(sum, k.at(k.rowPtr(k.rows(op.getResult()), k.rowTile),
                      k.mul(feature, 4)),
            4);
  });
  return {llvm::divideCeilSigned(features, kThreads), 1};
}

FailureOr<Grid> sputnik::gpu::emitExpertsProduct(Kernel &k,
                                                 r1::ExpertsDownOp op,
                                                 ExpertsStage stage) {
  ExpertsProduct experts(k, op, op.getDownAttr(), op.getLayer(),
                         op.getExperts(), op.getInput(), op.getChosen());
  if (stage == ExpertsStage::Sort)
    return experts.emitSort();
  int64_t slots = op.getChosen().getType().getDimSize(1);
  int64_t features = op.getType().getDimSize(1);
  Value products =
      k.allocateWorkspace(k.phase.getMaxRows() * slots * features * 4);
  if (stage == ExpertsStage::Combine)
    return emitCombine(k, op, products);
  int64_t count = experts.getBlockPanels() * kPanel;
  return experts.emit([&](SortedSlots::Slot slot, Value panel, Value sums) {
    Value first = k.mul(panel, kPanel);
    Value index = k.add(k.mul(slot.row, slots), slot.slot);
    Value to = k.at(products, k.mul(index, features * 4));
    k.forEach(count, [&](Value i) {
      Value feature = k.add(first, i);
      k.ifThen(k.less(feature, k.i64(features)), [&] {
        k.store(k.load(k.f32Type(), k.at(sums, k.mul(i, 4)), 4),
                k.at(to, k.mul(feature, 4)), 4);
      });
    });
  });
}
