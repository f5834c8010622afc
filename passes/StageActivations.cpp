//===- StageActivations.cpp - Rows for dot instructions -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"

#include "mlir/IR/Remarks.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_STAGEACTIVATIONSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {
struct StageActivations final
    : r1::impl::StageActivationsPassBase<StageActivations> {
  using Base::Base;

  /// The element type that a kernel for `product` takes rows in, or why that is
  /// f32.
  static Type chooseElement(ProductInterface product, FlatSymbolRefAttr matrix,
                            TargetAttr target, PhaseKind phase,
                            std::string &obstacle) {
    EncodingAttr encoding = getEncoding(lookupWeightType(product, matrix));
    Builder builder(product.getContext());
    int64_t inner = product.getInnerFeatures();
    auto rows = cast<RankedTensorType>(product.getRoundableRows()->get().getType());
    bool partsOfRows = inner != rows.getDimSize(1);
    DotKind dot = phase == PhaseKind::Prefill ? target.getBf16Dot()
                                              : DotKind::FMA;
    // Warpgroups multiply bf16 as fast as it comes: making it of weights is
    // less work than to scale sums of bytes, block by block.
    bool blocks = encoding && encoding.getBlock();
    bool pairs = blocks && (encoding.getScheme() == Scheme::FP8 ||
                            dot == DotKind::WGMMA);
    if (blocks && !pairs) {
      if (target.getInt8Dot() == IntDotKind::None)
        obstacle = "the target has no int8 dot instruction";
      else if (encoding.getPanel() == 1)
        obstacle = "it is not packed";
      else if (partsOfRows && inner % kActivationGroup)
        obstacle = "slots of rows do not have scales of their own";
      else
        return builder.getI8Type();
      return nullptr;
    }
    if (dot == DotKind::FMA)
      return nullptr;
    bool fits = pairs ? encoding.getPanel() > 1
                      : encoding && encoding.getScheme() == Scheme::BF16 &&
                            encoding.getStep() % 2 == 0;
    if (fits && (!partsOfRows || inner % 2 == 0))
      return builder.getBF16Type();
    obstacle = pairs ? "it is not packed"
                     : "it is not stored in bf16 with an even step";
    return nullptr;
  }

  void stage(func::FuncOp function, TargetAttr target, PhaseKind phase) {
    // By block and input: a cast inside a loop must not serve one outside.
    DenseMap<std::tuple<Block *, Value, Type>, CastOp> casts;
    function.walk<WalkOrder::PreOrder>([&](ProductInterface product) {
      OpOperand *rows = product.getRoundableRows();
      if (!rows)
        return;
      SmallVector<FlatSymbolRefAttr> matrices;
      product.getMatrices(matrices);
      Value input = rows->get();
      auto type = cast<RankedTensorType>(input.getType());
      if (!type.getElementType().isF32())
        return;
      std::string obstacle;
      Type element =
          chooseElement(product, matrices.front(), target, phase, obstacle);
      if (!element) {
        if (!obstacle.empty())
          remark::missed(
              product.getLoc(),
              remark::RemarkOpts::name("Stage").category(getArgument()))
              << ("@" + matrices.front().getValue() +
                  " takes f32 rows: " + obstacle)
                     .str();
        return;
      }
      CastOp &shared = casts[{product->getBlock(), input, element}];
      if (!shared) {
        OpBuilder builder(product);
        shared = CastOp::create(builder, product.getLoc(), type.clone(element),
                                input);
        ++numCasts;
      }
      rows->assign(shared.getResult());
      ++numStaged;
    });
  }

  void runOnOperation() override {
    auto target = getOperation()->getAttrOfType<TargetAttr>(kTargetAttr);
    if (!target)
      return;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (auto phase = function->getAttrOfType<PhaseAttr>(kPhaseAttr))
        stage(function, target, phase.getKind());
  }
};
} // namespace
