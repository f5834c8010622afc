//===- Targets.h - What --target names --------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TOOLS_TARGETS_H
#define SPUTNIK_TOOLS_TARGETS_H

#include "dialect/R1.h"
#include "llvm/Support/Error.h"

namespace sputnik {

/// The targets that the value of --target names: one CPU, or one GPU or several
/// with commas between them. Fails with a line that names the choices.
llvm::Expected<llvm::SmallVector<r1::TargetAttr>>
getTargets(llvm::StringRef names, mlir::MLIRContext &context);

/// What `sputnik targets` prints.
void printTargets(mlir::MLIRContext &context, llvm::raw_ostream &os);

} // namespace sputnik

#endif // SPUTNIK_TOOLS_TARGETS_H
