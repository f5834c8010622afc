//===- FoldNormGains.cpp - Gains into weights -----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"
#include "passes/SchemeRules.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_FOLDNORMGAINSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {
struct FoldNormGains final : r1::impl::FoldNormGainsPassBase<FoldNormGains> {
  using Base::Base;

  /// Why the gain of `norm` cannot move into its users' weights; empty if it
  /// can.
  static std::string findObstacle(RMSNormOp norm, SymbolTable &symbols,
                                  const GraphReaders &readers,
                                  SchemeRules &rules) {
    if (norm->use_empty())
      return "nothing uses the norm";
    for (Operation *user : norm->getUsers()) {
      auto linear = dyn_cast<LinearOp>(user);
      if (!linear)
        return llvm::formatv("{0} uses the norm too", user->getName());
      if (norm.getLayer() && linear.getLayer() != norm.getLayer())
        return llvm::formatv("@{0} has other layers", linear.getWeight());
      if (readers.lookup(linear.getWeightAttr().getAttr()).size() != 1)
        return llvm::formatv("@{0} has other readers: it would be stored twice",
                             linear.getWeight());
      Operation *weight = symbols.lookup(linear.getWeight());
      if (getEncoding(getWeightType(weight)))
        return llvm::formatv("@{0} is encoded already", linear.getWeight());
      Scheme scheme = rules.choose(linear.getWeight(), user);
      if (scheme != Scheme::F32)
        return llvm::formatv(
            "@{0} is stored in {1}, which {2}; the gain is applied to the "
            "activations",
            linear.getWeight(), stringifyScheme(scheme),
            scheme == Scheme::BF16
                ? "cannot hold the product of two bf16 values"
                : "has one scale for columns of different gains");
    }
    return "";
  }

  void fold(RMSNormOp norm, SymbolTable &symbols) {
    Operation *gain = symbols.lookup(*norm.getWeight());
    for (Operation *user : norm->getUsers()) {
      auto linear = cast<LinearOp>(user);
      DerivedOp derived =
          getOwnProgram(symbols, symbols.lookup(linear.getWeight()));
      OpBuilder builder(derived.getBody().front().getTerminator());
      Value columns = inlineWeight(builder, gain);
      setProgramResult(
          derived, ScaleColumnsOp::create(builder, norm.getLoc(),
                                          getProgramResult(derived), columns));
    }
    norm.removeWeightAttr();
    norm.getLayerMutable().clear();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<SchemeRules> rules =
        SchemeRules::parse(module, scheme, overrides);
    if (failed(rules))
      return signalPassFailure();
    SymbolTable symbols(module);
    GraphReaders readers = collectGraphReaders(module);
    module.walk([&](RMSNormOp norm) {
      if (!norm.getWeight() || norm.getLocality() != Locality::RowWise)
        return;
      remark::RemarkOpts opts =
          remark::RemarkOpts::name("Fold").category(getArgument());
      std::string gain = norm.getWeight()->str();
      std::string obstacle = findObstacle(norm, symbols, readers, *rules);
      if (!obstacle.empty()) {
        ++numKept;
        remark::missed(norm.getLoc(), opts)
            << "@" + gain + " not folded: " + obstacle;
        return;
      }
      fold(norm, symbols);
      ++numFolded;
      remark::passed(norm.getLoc(), opts)
          << "@" + gain + " folded into the weights that follow";
    });
  }
};
} // namespace
