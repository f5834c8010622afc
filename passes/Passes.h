//===- Passes.h - Passes on the r1 dialect ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_PASSES_PASSES_H
#define SPUTNIK_PASSES_PASSES_H

#include "dialect/R1.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace sputnik::r1 {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

} // namespace sputnik::r1

#endif // SPUTNIK_PASSES_PASSES_H
