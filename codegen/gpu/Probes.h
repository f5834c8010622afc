//===- Probes.h - Kernels that measure or fill ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_PROBES_H
#define SPUTNIK_CODEGEN_GPU_PROBES_H

#include "dialect/R1.h"
#include "mlir/IR/BuiltinOps.h"

namespace sputnik::gpu {

/// Multiply-adds of a block of abi::kDotKernel for each iteration.
extern const int64_t kDotMacs;

/// Emits abi::kFillKernel, kReadKernel and kDotKernel into `code`.
void emitProbes(mlir::ModuleOp code, r1::TargetAttr target);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_PROBES_H
