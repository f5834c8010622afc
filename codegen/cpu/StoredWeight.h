//===- StoredWeight.h - One weight of a packed matrix -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_STOREDWEIGHT_H
#define SPUTNIK_CODEGEN_CPU_STOREDWEIGHT_H

#include "codegen/cpu/Emit.h"
#include "dialect/R1.h"

namespace sputnik::cpu {

/// Weight [row, column] as f32, in any encoding: slow, for oracles and lookups.
mlir::Value loadWeight(Emit &e, r1::EncodingAttr encoding, int64_t columns,
                       mlir::Value base, mlir::Value row, mlir::Value column);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_STOREDWEIGHT_H
