//===- FoldNormGains.cpp - Gains into weights -----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSwitch.h"

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

  /// The stored type of a weight whose values the scheme keeps exactly as they
  /// are read, or empty.
  StringRef findKept(Operation *weight, SymbolTable &symbols) {
    llvm::SetVector<Operation *> sources;
    sources.insert(weight);
    for (size_t i = 0; i < sources.size(); ++i) {
      Operation *op = sources[i];
      if (auto derived = dyn_cast<DerivedOp>(op)) {
        for (auto read : derived.getBody().getOps<ReadOp>())
          sources.insert(symbols.lookup(read.getWeight()));
        continue;
      }
      for (auto origin :
           cast<WeightOp>(op).getOrigins().getAsRange<OriginAttr>()) {
        bool kept = llvm::StringSwitch<bool>(origin.getStored())
                        .Case("Q4_0", scheme != Scheme::FP8)
                        .Cases({"Q5_0", "Q8_0"}, scheme == Scheme::Q8)
                        .Case("F8_E4M3", scheme == Scheme::FP8)
                        .Default(false);
        if (kept)
          return origin.getStored();
      }
    }
    return "";
  }

  /// Why the gain of `norm` cannot move into its users' weights; empty if it
  /// can.
  std::string findObstacle(RMSNormOp norm, SymbolTable &symbols,
                           const GraphReaders &readers) {
    if (scheme == Scheme::BF16)
      return "bf16 cannot hold the product of two bf16 values; the gain is "
             "applied to the activations";
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
      if (scheme == Scheme::Q8 || scheme == Scheme::Q4Plain ||
          scheme == Scheme::FP8)
        if (StringRef stored = findKept(weight, symbols); !stored.empty())
          return llvm::formatv("{0} keeps the {1} values of @{2} as they are",
                               stringifyScheme(scheme), stored,
                               linear.getWeight());
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
    SymbolTable symbols(module);
    GraphReaders readers = collectGraphReaders(module);
    module.walk([&](RMSNormOp norm) {
      if (!norm.getWeight() || norm.getLocality() != Locality::RowWise)
        return;
      remark::RemarkOpts opts =
          remark::RemarkOpts::name("Fold").category(getArgument());
      std::string gain = norm.getWeight()->str();
      std::string obstacle = findObstacle(norm, symbols, readers);
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
