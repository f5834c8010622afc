//===- Probes.h - Functions that measure or fill ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_PROBES_H
#define SPUTNIK_CODEGEN_CPU_PROBES_H

#include "codegen/cpu/DotPrimitive.h"
#include "codegen/cpu/Emit.h"
#include "mlir/IR/BuiltinOps.h"

namespace sputnik::cpu {

inline constexpr llvm::StringLiteral kProbeRead = "sputnik_probe_read";
inline constexpr llvm::StringLiteral kProbeDot = "sputnik_probe_dot";
inline constexpr llvm::StringLiteral kFillRandom = "sputnik_fill_random";

/// 64 bits of random weights, from the number of their place and a seed: the
/// same on every machine. Each 16 bits are a bf16 of either sign with a
/// magnitude in [2^-6, 2^-5); read as f32 two of them are such a number as well,
/// and no byte is an E4M3 that is none, so that one pattern serves all schemes.
mlir::Value emitRandomWord(Emit &e, mlir::Value index, mlir::Value seed);

/// Emits abi::Model::probeRead, probeDot (for `dot`, the primitive that prefill
/// uses) and fillRandom into `code`.
void emitProbes(mlir::ModuleOp code, r1::TargetAttr target, DotPrimitive dot);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_PROBES_H
