//===- Target.h - The machine that code is made for -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_TARGET_H
#define SPUTNIK_CODEGEN_CPU_TARGET_H

#include "dialect/R1.h"
#include "llvm/Support/Error.h"

namespace llvm {
class TargetMachine;
class raw_ostream;
} // namespace llvm

namespace sputnik::cpu {

/// The target that `name` stands for: `native`, `x86-64-v3`, `x86-64-v4`, any
/// LLVM CPU name of x86-64, `aarch64` or `aarch64:CPU`; each but `native` with
/// any number of `+FEATURE` behind it, features beside those of the CPU by their
/// LLVM names. Only `native` asks the host. Fails with a line that names the
/// choices.
llvm::Expected<r1::TargetAttr> getTarget(llvm::StringRef name,
                                         mlir::MLIRContext &context);

/// Whether the target's CPU and features have the LLVM feature of this name. False
/// for a name that its architecture does not know.
bool hasFeature(r1::TargetAttr target, llvm::StringRef feature);

/// The LLVM back end for a target, for code at fixed low addresses or at any.
/// `optLevel` is 0 to 3.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(r1::TargetAttr target, int optLevel,
                    bool positionIndependent);

/// What `sputnik targets` prints.
void printTargets(mlir::MLIRContext &context, llvm::raw_ostream &os);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_TARGET_H
