//===- EncodeWeights.cpp - How each weight is stored ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Packing.h"
#include "passes/Passes.h"
#include "passes/SchemeRules.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_ENCODEWEIGHTSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {

struct EncodeWeights final : r1::impl::EncodeWeightsPassBase<EncodeWeights> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<SchemeRules> rules =
        SchemeRules::parse(module, scheme, overrides);
    if (failed(rules))
      return signalPassFailure();

    SymbolTable symbols(module);
    for (auto &[name, readers] : collectGraphReaders(module)) {
      Operation *weight = symbols.lookup(name);
      RankedTensorType type = getWeightType(weight);
      Scheme to = type.getRank() == 2 ? rules->choose(name, readers)
                                      : Scheme::F32;
      if (getEncoding(type))
        continue;
      EncodingAttr encoding = getRowMajor(&getContext(), to);
      int64_t bytes = encoding.getBytes(type.getShape());
      int64_t layers = getWeightLayers(weight);
      setProgramEncoding(getOwnProgram(symbols, weight), encoding);
      ++numEncoded;
      encodedBytes += layers * bytes;
      remark::analysis(
          readers.front()->getLoc(),
          remark::RemarkOpts::name("Encoded").category(getArgument()))
          << remark::add("@{0} is stored as {1}, {2} bytes in {3} layers",
                         name.getValue(), stringifyScheme(to), bytes, layers);
    }
    if (StringRef rule = rules->findUnused(); !rule.empty()) {
      module.emitError("override '") << rule << "' fits no matrix";
      return signalPassFailure();
    }
    numErased += eraseUnreadWeights(module);
  }
};
} // namespace
