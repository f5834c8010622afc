//===- Passes.h - Passes on kernels for GPUs --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_PASSES_H
#define SPUTNIK_CODEGEN_GPU_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace sputnik::gpu {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "codegen/gpu/Passes.h.inc"

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_PASSES_H
