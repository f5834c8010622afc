//===- PackWeights.cpp - Panels for the dot primitive ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Packing.h"
#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"

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

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto target = module->getAttrOfType<TargetAttr>(kTargetAttr);
    SymbolTable symbols(module);
    for (auto &[name, readers] : collectGraphReaders(module)) {
      auto isMatrixOfLinear = [name = name](Operation *reader) {
        auto linear = dyn_cast<LinearOp>(reader);
        return linear && linear.getWeightAttr().getAttr() == name;
      };
      auto linear = llvm::find_if(readers, isMatrixOfLinear);
      if (linear == readers.end())
        continue;
      auto derived = dyn_cast<DerivedOp>(symbols.lookup(name));
      EncodingAttr from = derived ? getEncoding(derived.getType()) : nullptr;
      remark::RemarkOpts opts =
          remark::RemarkOpts::name("Packed").category(getArgument());
      if (!from) {
        remark::missed((*linear)->getLoc(), opts)
            << remark::add("not packed: @{0} has no encoding yet; "
                           "r1-encode-weights gives it one",
                           name.getValue());
        continue;
      }
      EncodingAttr to = choosePacking(&getContext(), target, from.getScheme());
      if (from == to)
        continue;
      ArrayRef<int64_t> shape = getWeightType(derived).getShape();
      EncodingAttr unpadded = getRowMajor(&getContext(), to.getScheme());
      int64_t padding = (to.getBytes(shape) - unpadded.getBytes(shape)) *
                        getWeightLayers(derived);
      setProgramEncoding(derived, to);
      ++numPacked;
      paddingBytes += padding;
      remark::passed((*linear)->getLoc(), opts)
          << remark::add("@{0} lies in panels of {1} rows and steps of {2} "
                         "columns, {3} bytes of padding",
                         name.getValue(), to.getPanel(), to.getStep(), padding);
    }
  }
};
} // namespace
