//===- ModelDescriptor.h - What the runtime reads of a model ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_MODELDESCRIPTOR_H
#define SPUTNIK_CODEGEN_CPU_MODELDESCRIPTOR_H

#include "codegen/cpu/LowerPhases.h"
#include "codegen/cpu/ModelObject.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace sputnik::cpu {

/// Emits abi::Model, and the data that it points to, to a module of code that
/// has the phases and probes already. `decode` is the phase that they were made
/// of, with its weights around it.
void emitModelDescriptor(mlir::ModuleOp code,
                         const ModelDescription &description,
                         llvm::ArrayRef<EmittedPhase> phases,
                         mlir::func::FuncOp decode, uint64_t weightBytes);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_MODELDESCRIPTOR_H
