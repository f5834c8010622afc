//===- ExpertsKernel.cpp - Products with chosen experts -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block takes one row, and what goes up one slot of it. Its warps share out
// panels of the experts that the row has chosen, which they read from memory;
// matrices that nobody chose are not touched. Blocks of rows that have chosen the
// same expert find its panels in L2.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/Region.h"
#include "codegen/gpu/RowOps.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// Chunks that a warp loads before it multiplies the first.
constexpr int64_t kUnroll = 4;

/// The matrices of one weight, and one row of their input.
class Experts {
public:
  Experts(Kernel &k, Operation *op, FlatSymbolRefAttr weight, Value layer,
          int64_t experts, Value input, Value chosen, PanelDot dot)
      : k(k), input(k.rows(input)), chosen(k.rows(chosen)), dot(dot) {
    RankedTensorType type = r1::lookupWeightType(op, weight);
    columns = type.getDimSize(1);
    panels = type.getDimSize(0) / experts / kPanel;
    panelBytes = r1::getEncoding(type).getPanelBytes(columns);
    base = k.weightPtr(op, weight, layer);
    ways = this->input.features / columns;
    stageInput();
  }

  /// Of one expert.
  int64_t getPanels() const { return panels; }

  /// The sums of a panel of the expert in `slot` with the slot's input go to
  /// `out`.
  void multiply(Value slot, Value panel, Value out) {
    Value expert =
        k.widen(k.load(k.b.getI32Type(),
                       k.at(k.rowPtr(chosen, k.rowTile), k.mul(slot, 4)), 4));
    Value index = k.add(k.mul(expert, panels), panel);
    SmallVector<Value> sums =
        dot.sumPanel(k, k.at(base, k.mul(index, panelBytes)), columns,
                     slotRow(slot), dot.all(k, columns), kUnroll);
    k.ifThen(k.equal(dot.lanePart(k), k.i64(0)), [&] {
      for (auto [i, sum] : llvm::enumerate(sums))
        k.store(sum, k.at(out, k.mul(k.add(dot.laneRow(k), i), 4)), 4);
    });
  }

private:
  /// Floats lie in shared memory, each slot's filled up with zeros.
  void stageInput() {
    row = k.rowPtr(input, k.rowTile);
    if (dot.isInteger())
      return;
    int64_t padded = dot.paddedColumns(columns);
    stage = k.allocateShared(ways * padded * 4);
    k.forEach(ways * padded, [&](Value i) {
      Value column = k.rem(i, padded);
      Value from = k.add(k.mul(k.div(i, padded), columns), column);
      Value value =
          k.ifThenElse(k.less(column, k.i64(columns)), {k.f32(0)}, [&] {
            Value at = k.at(row, k.mul(from, k.bytesOf(input.element)));
            return SmallVector<Value>{k.loadAsF32(input.element, at)};
          })[0];
      k.store(value, k.at(stage, k.mul(i, 4)), 4);
    });
    k.barrier();
  }

  /// All slots have the same input, or each a part of the row.
  PanelDot::Row slotRow(Value slot) {
    Value part = ways == 1 ? k.i64(0) : slot;
    if (!dot.isInteger())
      return {k.at(stage, k.mul(part, dot.paddedColumns(columns) * 4)),
              nullptr};
    PanelDot::Row all = dot.rowAt(k, row, input.features);
    all.values = k.at(all.values, k.mul(part, columns));
    all.scales =
        k.at(all.scales, k.mul(part, columns / r1::kActivationGroup * 4));
    return all;
  }

  Kernel &k;
  Rows input, chosen;
  PanelDot dot;
  int64_t columns, panels, panelBytes, ways;
  Value base, row, stage;
};

} // namespace

static FailureOr<PanelDot> getDot(Operation *op, FlatSymbolRefAttr weight,
                                  Value input) {
  r1::EncodingAttr encoding = r1::getEncoding(r1::lookupWeightType(op, weight));
  Type element = cast<RankedTensorType>(input.getType()).getElementType();
  // Rows in bf16 are made floats where they are staged.
  FailureOr<PanelDot> dot = PanelDot::get(
      encoding,
      element.isBF16() ? Type(Float32Type::get(op->getContext())) : element);
  if (failed(dot))
    op->emitOpError("no kernel multiplies ")
        << encoding << " with " << element << " activations";
  return dot;
}

FailureOr<Grid> sputnik::gpu::emitExpertsUp(Kernel &k, r1::ExpertsUpOp op) {
  FailureOr<PanelDot> dot = getDot(op, op.getGateAttr(), op.getInput());
  if (failed(dot))
    return failure();
  if (op.getUpAttr() || op.getBlock() != kPanel)
    return op.emitOpError("has no kernel for a GPU where gate and up do not "
                          "alternate in panels");
  Experts experts(k, op, op.getGateAttr(), op.getLayer(), op.getExperts(),
                  op.getInput(), op.getChosen(), *dot);
  int64_t slots = op.getChosen().getType().getDimSize(1);
  int64_t inner = op.getSlotFeatures();
  int64_t blocks = llvm::divideCeil(experts.getPanels(), kWarps);
  Value slot = k.div(k.block, blocks);
  Value firstPanel = k.mul(k.rem(k.block, blocks), kWarps);
  Value panel = k.add(firstPanel, k.warp);
  Value sums = k.allocateShared(kWarps * kPanel * 4);
  k.ifThen(k.less(panel, k.i64(experts.getPanels())), [&] {
    experts.multiply(slot, panel, k.at(sums, k.mul(k.warp, kPanel * 4)));
  });
  k.barrier();
  Value out =
      k.at(k.rowPtr(k.rows(op.getResult()), k.rowTile), k.mul(slot, inner * 4));
  emitSwiGLUPanels(k, sums, k.mul(k.div(firstPanel, 2), kPanel),
                   kWarps / 2 * kPanel, inner, out);
  return Grid{slots * blocks, 1};
}

FailureOr<Grid> sputnik::gpu::emitExpertsDown(Kernel &k, r1::ExpertsDownOp op) {
  FailureOr<PanelDot> dot = getDot(op, op.getDownAttr(), op.getInput());
  if (failed(dot))
    return failure();
  Experts experts(k, op, op.getDownAttr(), op.getLayer(), op.getExperts(),
                  op.getInput(), op.getChosen(), *dot);
  int64_t slots = op.getChosen().getType().getDimSize(1);
  int64_t features = op.getType().getDimSize(1);
  int64_t panels = llvm::divideCeil(features, kPanel);
  // Warps take slots of the same panels: a block has few panels, to be many.
  int64_t together = std::max<int64_t>(1, kWarps / slots);
  Value firstPanel = k.mul(k.block, together);
  Value products = k.allocateShared(together * slots * kPanel * 4);
  k.loop(k.warp, k.i64(together * slots), kWarps, [&](Value item) {
    Value panel = k.add(firstPanel, k.div(item, slots));
    k.ifThen(k.less(panel, k.i64(panels)), [&] {
      experts.multiply(k.rem(item, slots), panel,
                       k.at(products, k.mul(item, kPanel * 4)));
    });
  });
  k.barrier();
  Value factors = k.rowPtr(k.rows(op.getFactors()), k.rowTile);
  Value out = k.rowPtr(k.rows(op.getResult()), k.rowTile);
  k.forEach(together * kPanel, [&](Value i) {
    Value feature = k.add(k.mul(firstPanel, kPanel), i);
    k.ifThen(k.less(feature, k.i64(features)), [&] {
      // In the order of slots.
      Value sum =
          k.loop(k.i64(0), k.i64(slots), 1, {k.f32(0)},
                 [&](Value slot, ValueRange sums) -> SmallVector<Value> {
                   Value item = k.add(k.mul(k.div(i, kPanel), slots), slot);
                   Value at = k.add(k.mul(item, kPanel), k.rem(i, kPanel));
                   Value product =
                       k.load(k.f32Type(), k.at(products, k.mul(at, 4)), 4);
                   Value factor =
                       k.load(k.f32Type(), k.at(factors, k.mul(slot, 4)), 4);
                   return {k.fma(factor, product, sums[0])};
                 })[0];
      k.store(sum, k.at(out, k.mul(feature, 4)), 4);
    });
  });
  int64_t blocks = llvm::divideCeil(panels, together);
  return Grid{blocks, 1};
}
