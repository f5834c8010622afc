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

  /// The element type that a kernel for `linear` takes rows in, or why that is
  /// f32.
  static Type chooseElement(LinearOp linear, TargetAttr target, PhaseKind phase,
                            std::string &obstacle) {
    EncodingAttr encoding =
        getEncoding(lookupWeightType(linear, linear.getWeightAttr()));
    Builder builder(linear.getContext());
    if (encoding && encoding.getBlock()) {
      if (target.getInt8Dot() == IntDotKind::None)
        obstacle = "the target has no int8 dot instruction";
      else if (encoding.getPanel() == 1)
        obstacle = "it is not packed";
      else
        return builder.getI8Type();
      return nullptr;
    }
    if (phase != PhaseKind::Prefill || target.getBf16Dot() == DotKind::FMA)
      return nullptr;
    if (encoding && encoding.getScheme() == Scheme::BF16 &&
        encoding.getStep() == 2)
      return builder.getBF16Type();
    obstacle = "it is not stored in bf16 with step 2";
    return nullptr;
  }

  void stage(func::FuncOp function, TargetAttr target, PhaseKind phase) {
    // By block and input: a cast inside a loop must not serve one outside.
    DenseMap<std::tuple<Block *, Value, Type>, CastOp> casts;
    function.walk<WalkOrder::PreOrder>([&](LinearOp linear) {
      Value input = linear.getInput();
      auto type = cast<RankedTensorType>(input.getType());
      if (!type.getElementType().isF32())
        return;
      std::string obstacle;
      Type element = chooseElement(linear, target, phase, obstacle);
      if (!element) {
        if (!obstacle.empty())
          remark::missed(
              linear.getLoc(),
              remark::RemarkOpts::name("Stage").category(getArgument()))
              << ("@" + linear.getWeight() + " takes f32 rows: " + obstacle)
                     .str();
        return;
      }
      CastOp &shared = casts[{linear->getBlock(), input, element}];
      if (!shared) {
        OpBuilder builder(linear);
        shared = CastOp::create(builder, linear.getLoc(), type.clone(element),
                                input);
        ++numCasts;
      }
      linear.getInputMutable().assign(shared.getResult());
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
