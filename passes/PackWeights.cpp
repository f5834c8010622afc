//===- PackWeights.cpp - Panels for the dot primitive ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Packing.h"
#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/MathExtras.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {
struct PackWeights final : r1::impl::PackWeightsPassBase<PackWeights> {
  using Base::Base;

  /// Makes each of several parts start with a panel, so that kernels can
  /// address them.
  static void fillPanels(DerivedOp derived, int64_t parts, int64_t panel) {
    auto encode = getProgramResult(derived).getDefiningOp<EncodeOp>();
    Value value = encode ? encode.getValue() : getProgramResult(derived);
    auto type = cast<RankedTensorType>(value.getType());
    int64_t rows = type.getDimSize(0) / parts;
    if (parts == 1 || rows % panel == 0)
      return;
    OpBuilder builder(derived.getBody().front().getTerminator());
    auto filled = RankedTensorType::get(
        {static_cast<int64_t>(parts * llvm::alignTo(rows, panel)),
         type.getDimSize(1)},
        type.getElementType());
    setProgramResult(derived, ConcatOp::create(
                                  builder, derived.getLoc(), filled, value,
                                  builder.getI64IntegerAttr(panel),
                                  builder.getI64IntegerAttr(rows)));
    if (encode)
      encode.erase();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto target = module->getAttrOfType<TargetAttr>(kTargetAttr);
    SymbolTable symbols(module);
    for (auto &[name, readers] : collectGraphReaders(module)) {
      auto isMatrixOf = [name = name](Operation *reader) {
        auto product = dyn_cast<ProductInterface>(reader);
        SmallVector<FlatSymbolRefAttr> matrices;
        if (product)
          product.getMatrices(matrices);
        return llvm::any_of(matrices, [&](FlatSymbolRefAttr matrix) {
          return matrix.getAttr() == name;
        });
      };
      auto it = llvm::find_if(readers, isMatrixOf);
      if (it == readers.end())
        continue;
      auto product = cast<ProductInterface>(*it);
      auto derived = dyn_cast<DerivedOp>(symbols.lookup(name));
      EncodingAttr from = derived ? getEncoding(derived.getType()) : nullptr;
      remark::RemarkOpts opts =
          remark::RemarkOpts::name("Packed").category(getArgument());
      if (!from) {
        remark::missed(product->getLoc(), opts)
            << remark::add("not packed: @{0} has no encoding yet; "
                           "r1-encode-weights gives it one",
                           name.getValue());
        continue;
      }
      EncodingAttr to = choosePacking(&getContext(), target, from.getScheme());
      if (from == to)
        continue;
      EncodingAttr unpadded = getRowMajor(&getContext(), to.getScheme());
      int64_t bytes = unpadded.getBytes(getWeightType(derived).getShape());
      fillPanels(derived, product.getMatrixParts(), to.getPanel());
      setProgramEncoding(derived, to);
      int64_t padding = (to.getBytes(getWeightType(derived).getShape()) - bytes) *
                        getWeightLayers(derived);
      ++numPacked;
      paddingBytes += padding;
      remark::passed(product->getLoc(), opts)
          << remark::add("@{0} lies in panels of {1} rows and steps of {2} "
                         "columns, {3} bytes of padding",
                         name.getValue(), to.getPanel(), to.getStep(), padding);
    }
  }
};
} // namespace
