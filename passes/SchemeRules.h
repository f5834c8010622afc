//===- SchemeRules.h - Which scheme stores which matrix ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_PASSES_SCHEMERULES_H
#define SPUTNIK_PASSES_SCHEMERULES_H

#include "dialect/R1.h"

#include "llvm/Support/GlobPattern.h"

namespace sputnik::r1 {

/// The scheme of each matrix: the one for all, unless a rule
/// `pattern=scheme` fits its name or its readers ask for another.
class SchemeRules {
public:
  /// Reports a rule that is none on `module`. Patterns are globs.
  static mlir::FailureOr<SchemeRules>
  parse(mlir::ModuleOp module, Scheme scheme,
        llvm::ArrayRef<std::string> overrides);

  /// The scheme of the matrix `name` that `readers` read.
  Scheme choose(llvm::StringRef name,
                llvm::ArrayRef<mlir::Operation *> readers);

  /// The text of the first rule that no chosen matrix fitted; empty if there is
  /// none.
  llvm::StringRef findUnused() const;

private:
  struct Rule {
    std::string text;
    llvm::GlobPattern pattern;
    Scheme scheme;
    bool fits = false;
  };

  Scheme scheme = Scheme::F32;
  llvm::SmallVector<Rule> rules;
};

} // namespace sputnik::r1

#endif // SPUTNIK_PASSES_SCHEMERULES_H
