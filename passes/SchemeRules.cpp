//===- SchemeRules.cpp - Which scheme stores which matrix -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/SchemeRules.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

FailureOr<SchemeRules> SchemeRules::parse(ModuleOp module, Scheme scheme,
                                          ArrayRef<std::string> overrides) {
  SchemeRules result;
  result.scheme = scheme;
  for (const std::string &text : overrides) {
    auto [glob, schemeName] = StringRef(text).rsplit('=');
    std::optional<Scheme> to = symbolizeScheme(schemeName);
    if (!to)
      return module.emitError("override '")
             << text << "' names no scheme; expected pattern=f32, "
             << "pattern=bf16, pattern=q8, pattern=q4, pattern=q4_plain or "
             << "pattern=fp8";
    llvm::Expected<llvm::GlobPattern> pattern =
        llvm::GlobPattern::create(glob);
    if (!pattern)
      return module.emitError("override '")
             << text << "': " << llvm::toString(pattern.takeError());
    result.rules.push_back({text, std::move(*pattern), *to});
  }
  return result;
}

Scheme SchemeRules::choose(StringRef name, ArrayRef<Operation *> readers) {
  bool lookedUpOnly = llvm::all_of(readers, llvm::IsaPred<EmbedOp>);
  bool precise = llvm::any_of(readers, [](Operation *reader) {
    auto linear = dyn_cast<LinearOp>(reader);
    return linear && linear.getPrecise();
  });
  Scheme to = (lookedUpOnly || precise) && scheme != Scheme::F32 ? Scheme::BF16
                                                                 : scheme;
  // Backwards, so that the first rule that fits is the last to set it.
  for (Rule &rule : llvm::reverse(rules))
    if (rule.pattern.match(name)) {
      to = rule.scheme;
      rule.fits = true;
    }
  return to;
}

StringRef SchemeRules::findUnused() const {
  for (const Rule &rule : rules)
    if (!rule.fits)
      return rule.text;
  return "";
}
