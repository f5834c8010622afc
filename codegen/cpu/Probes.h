//===- Probes.h - Functions that measure or fill ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_PROBES_H
#define SPUTNIK_CODEGEN_CPU_PROBES_H

#include "codegen/cpu/DotPrimitive.h"
#include "mlir/IR/BuiltinOps.h"

namespace sputnik::cpu {

inline constexpr llvm::StringLiteral kProbeRead = "sputnik_probe_read";
inline constexpr llvm::StringLiteral kProbeDot = "sputnik_probe_dot";
inline constexpr llvm::StringLiteral kFillRandom = "sputnik_fill_random";

/// Emits abi::Model::probeRead, probeDot (for `dot`, the primitive that prefill
/// uses) and fillRandom into `code`.
void emitProbes(mlir::ModuleOp code, r1::TargetAttr target, DotPrimitive dot);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_PROBES_H
