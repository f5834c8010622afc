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

  /// A phase to be made of a function.
  struct Phase {
    StringLiteral name;
    PhaseKind kind;
    int64_t rows;
  };

  /// Puts `phases` in the place of the function called `name`, if there is one.
  LogicalResult specialize(StringRef name, ArrayRef<Phase> phases) {
    ModuleOp module = getOperation();
    auto function = module.lookupSymbol<func::FuncOp>(name);
    if (!function)
      return success();
    OpBuilder builder(function);
    for (const Phase &phase : phases) {
      if (Operation *other = module.lookupSymbol(phase.name))
        return other->emitError("cannot specialise @")
               << name << ": @" << phase.name << " is already defined";
      auto copy = cast<func::FuncOp>(builder.clone(*function));
      copy.setSymName(phase.name);
      copy->setAttr(kPhaseAttr,
                    PhaseAttr::get(&getContext(), phase.kind, phase.rows));
    }
    function.erase();
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (verifyRows < 1 || prefillRows < 1) {
      module.emitError("phases need at least one row, found verify-rows ")
          << verifyRows.getValue() << " and prefill-rows "
          << prefillRows.getValue();
      return signalPassFailure();
    }
    const Phase forward[] = {{kDecode, PhaseKind::Decode, 1},
                             {kVerify, PhaseKind::Verify, verifyRows},
                             {kPrefill, PhaseKind::Prefill, prefillRows}};
    // A draft is made of rows that were just checked, or of a prompt.
    const Phase draft[] = {{kDraftVerify, PhaseKind::Verify, verifyRows},
                           {kDraftPrefill, PhaseKind::Prefill, prefillRows}};
    if (failed(specialize("forward", forward)) ||
        failed(specialize("draft", draft)))
      signalPassFailure();
  }
};
} // namespace
