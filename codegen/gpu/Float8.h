//===- Float8.h - Weights of 8-bit floats in registers ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_FLOAT8_H
#define SPUTNIK_CODEGEN_GPU_FLOAT8_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// The four E4M3 numbers of a word as f32, times 1 / float8Factor.
llvm::SmallVector<mlir::Value> float8ToFloats(Kernel &k, mlir::Value word);
/// 1 where the chip converts such numbers, else a power of two.
float float8Factor(r1::TargetAttr target);

/// The four E4M3 numbers of a word as two words of two bf16 each.
llvm::SmallVector<mlir::Value> float8ToPairs(Kernel &k, mlir::Value word);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_FLOAT8_H
