//===- ChooseLatentForm.cpp - The form of latent attention ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_CHOOSELATENTFORMPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

/// From how many rows on the expanded form needs fewer multiply-adds for one
/// head and position: it forms a key and a value once for all rows, whose
/// products with every row are then shorter. 0 if it never does.
static int64_t findBreakEven(LatentAttentionOp op) {
  int64_t latent = op.getLatentFeatures(), key = op.getQueryFeatures(),
          value = op.getValueFeatures();
  int64_t saved = 2 * latent - key - value;
  return saved <= 0 ? 0 : latent * (key + value) / saved + 1;
}

namespace {
struct ChooseLatentForm final
    : r1::impl::ChooseLatentFormPassBase<ChooseLatentForm> {
  using Base::Base;

  /// The weight that holds the transposes of the matrices of `op`'s keys.
  FlatSymbolRefAttr transposeKeys(SymbolTable &symbols, LatentAttentionOp op) {
    FlatSymbolRefAttr &transposed = transposes[op.getKeysAttr().getAttr()];
    if (transposed)
      return transposed;
    Operation *weight = symbols.lookup(op.getKeys());
    DerivedOp derived = createProgram(
        symbols, weight, (op.getKeys() + "_absorbed").str(),
        weight->getAttrOfType<IntegerAttr>("layers"));
    OpBuilder builder(derived.getBody().front().getTerminator());
    int64_t part = op.getQueryFeatures();
    auto type = RankedTensorType::get(
        {op.getHeads() * op.getLatentFeatures(), part}, builder.getF32Type());
    setProgramResult(derived, TransposeOp::create(
                                  builder, op.getLoc(), type,
                                  inlineWeight(builder, weight),
                                  builder.getI64IntegerAttr(part)));
    transposed = FlatSymbolRefAttr::get(derived.getSymNameAttr());
    return transposed;
  }

  void choose(SymbolTable &symbols, LatentAttentionOp op, PhaseAttr phase) {
    if (op.getForm() == LatentForm::Absorbed)
      return;
    remark::RemarkOpts opts =
        remark::RemarkOpts::name("Form").category(getArgument());
    if (getEncoding(lookupWeightType(op, op.getKeysAttr()))) {
      remark::missed(op.getLoc(), opts)
          << ("expanded: @" + op.getKeys() + " is encoded already").str();
      return;
    }
    // Kernels for GPUs have the absorbed form alone, and a step that checks
    // guesses gives the bits that decoding gives.
    auto target =
        op->getParentOfType<ModuleOp>()->getAttrOfType<TargetAttr>(kTargetAttr);
    int64_t rows = target && target.isGPU() ? 0 : findBreakEven(op);
    if (rows && phase.getMaxRows() >= rows &&
        phase.getKind() == PhaseKind::Prefill) {
      ++numExpanded;
      remark::passed(op.getLoc(), opts)
          << remark::add("expanded: it pays from {0} rows on, @{1} has {2}",
                         rows, stringifyPhaseKind(phase.getKind()),
                         phase.getMaxRows());
      return;
    }
    op.setKeysAttr(transposeKeys(symbols, op));
    op.setForm(LatentForm::Absorbed);
    ++numAbsorbed;
    remark::passed(op.getLoc(), opts)
        << remark::add("absorbed: expanding pays from {0} rows on, @{1} has {2}",
                       rows, stringifyPhaseKind(phase.getKind()),
                       phase.getMaxRows());
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    transposes.clear();
    for (auto function : module.getOps<func::FuncOp>())
      if (auto phase = function->getAttrOfType<PhaseAttr>(kPhaseAttr))
        function.walk(
            [&](LatentAttentionOp op) { choose(symbols, op, phase); });
    eraseUnreadWeights(module);
  }

  DenseMap<StringAttr, FlatSymbolRefAttr> transposes;
};
} // namespace
