//===- Barrier.h - Where threads wait for each other ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_BARRIER_H
#define SPUTNIK_CODEGEN_CPU_BARRIER_H

#include "mlir/IR/Builders.h"

namespace sputnik::cpu {

/// Name of the generated barrier function.
inline constexpr llvm::StringLiteral kBarrierFunction = "sputnik_barrier";

/// Emits void sputnik_barrier(abi::Barrier *, i64 threads, const u8 *ahead, i64
/// bytes), which returns when all threads have called it. A thread that waits asks
/// for `bytes` at `ahead`, its first weights behind the barrier, in the meantime.
void emitBarrier(mlir::OpBuilder &builder, mlir::Location loc);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_BARRIER_H
