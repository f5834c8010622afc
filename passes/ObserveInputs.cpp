//===- ObserveInputs.cpp - Records of what linears take -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/ObserveInputs.h"

#include "passes/Passes.h"

#include "mlir/IR/Remarks.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_OBSERVEINPUTSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

/// Calls `body` for each product of the prefill phase that takes rows.
static void
forEachProduct(ModuleOp module,
               function_ref<void(ProductInterface, const Observation &)> body) {
  auto function = module.lookupSymbol<func::FuncOp>(kPrefill);
  if (!function)
    return;
  int64_t offset = 0;
  function.walk<WalkOrder::PreOrder>([&](ProductInterface product) {
    if (!product.getRoundableRows())
      return;
    SmallVector<FlatSymbolRefAttr> matrices;
    product.getMatrices(matrices);
    StringRef weight = matrices.front().getValue();
    Observation observation{weight.str(),
                            getWeightLayers(module.lookupSymbol(weight)),
                            product.getInnerFeatures(), offset};
    body(product, observation);
    offset += observation.getBytes();
  });
}

std::vector<Observation> sputnik::r1::listObservations(ModuleOp module) {
  std::vector<Observation> observations;
  forEachProduct(module,
                 [&](ProductInterface, const Observation &observation) {
                   observations.push_back(observation);
                 });
  return observations;
}

namespace {
struct ObserveInputs final : r1::impl::ObserveInputsPassBase<ObserveInputs> {
  using Base::Base;

  void runOnOperation() override {
    Builder builder(&getContext());
    forEachProduct(getOperation(), [&](ProductInterface product,
                                       const Observation &observation) {
      product->setAttr(kObservedAttr,
                       builder.getI64IntegerAttr(observation.offset));
      ++numObserved;
      remark::analysis(
          product.getLoc(),
          remark::RemarkOpts::name("Observe").category(getArgument()))
          << remark::add("{0} features of what @{1} multiplies are observed in "
                         "{2} layers",
                         observation.columns, observation.weight,
                         observation.layers);
    });
  }
};
} // namespace
