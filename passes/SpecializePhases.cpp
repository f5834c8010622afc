//===- SpecializePhases.cpp - Phases of @forward --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_SPECIALIZEPHASESPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {
struct SpecializePhases final
    : r1::impl::SpecializePhasesPassBase<SpecializePhases> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto forward = module.lookupSymbol<func::FuncOp>("forward");
    if (!forward)
      return;
    if (verifyRows < 1 || prefillRows < 1) {
      module.emitError("phases need at least one row, found verify-rows ")
          << verifyRows.getValue() << " and prefill-rows "
          << prefillRows.getValue();
      return signalPassFailure();
    }
    const std::pair<PhaseKind, int64_t> phases[] = {
        {PhaseKind::Decode, 1},
        {PhaseKind::Verify, verifyRows},
        {PhaseKind::Prefill, prefillRows}};
    OpBuilder builder(forward);
    for (auto [kind, rows] : phases) {
      StringRef name = stringifyPhaseKind(kind);
      if (Operation *other = module.lookupSymbol(name)) {
        other->emitError("cannot specialise @forward: @")
            << name << " is already defined";
        return signalPassFailure();
      }
      auto phase = cast<func::FuncOp>(builder.clone(*forward));
      phase.setSymName(name);
      phase->setAttr(kPhaseAttr, PhaseAttr::get(&getContext(), kind, rows));
    }
    forward.erase();
  }
};
} // namespace
