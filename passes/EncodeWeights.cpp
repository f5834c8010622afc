//===- EncodeWeights.cpp - How each weight is stored ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Packing.h"
#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/GlobPattern.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_ENCODEWEIGHTSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {

/// One entry of the option `overrides`.
struct Override {
  std::string text;
  llvm::GlobPattern pattern;
  Scheme scheme;
  bool fits = false;
};

struct EncodeWeights final : r1::impl::EncodeWeightsPassBase<EncodeWeights> {
  using Base::Base;

  LogicalResult parseOverrides(SmallVectorImpl<Override> &parsed) {
    for (const std::string &text : overrides) {
      auto [glob, schemeName] = StringRef(text).rsplit('=');
      std::optional<Scheme> to = symbolizeScheme(schemeName);
      if (!to)
        return getOperation().emitError("override '")
               << text << "' names no scheme; expected pattern=f32, "
               << "pattern=bf16, pattern=q8, pattern=q4, pattern=q4_plain or "
               << "pattern=fp8";
      llvm::Expected<llvm::GlobPattern> pattern =
          llvm::GlobPattern::create(glob);
      if (!pattern)
        return getOperation().emitError("override '")
               << text << "': " << llvm::toString(pattern.takeError());
      parsed.push_back({text, std::move(*pattern), *to});
    }
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<Override> rules;
    if (failed(parseOverrides(rules)))
      return signalPassFailure();

    SymbolTable symbols(module);
    for (auto &[name, readers] : collectGraphReaders(module)) {
      Operation *weight = symbols.lookup(name);
      RankedTensorType type = getWeightType(weight);
      Scheme to = Scheme::F32;
      if (type.getRank() == 2) {
        bool lookedUpOnly = llvm::all_of(readers, llvm::IsaPred<EmbedOp>);
        bool precise = llvm::any_of(readers, [](Operation *reader) {
          auto linear = dyn_cast<LinearOp>(reader);
          return linear && linear.getPrecise();
        });
        to = (lookedUpOnly || precise) && scheme != Scheme::F32 ? Scheme::BF16
                                                                : scheme;
        // Backwards, so that the first rule that fits is the last to set it.
        for (Override &rule : llvm::reverse(rules))
          if (rule.pattern.match(name)) {
            to = rule.scheme;
            rule.fits = true;
          }
      }
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
    for (const Override &rule : rules)
      if (!rule.fits) {
        module.emitError("override '") << rule.text << "' fits no matrix";
        return signalPassFailure();
      }
    numErased += eraseUnreadWeights(module);
  }
};
} // namespace
