//===- InputSquares.h - Sums over what linears take -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_INPUTSQUARES_H
#define SPUTNIK_CODEGEN_CPU_INPUTSQUARES_H

#include "codegen/cpu/Phase.h"

namespace sputnik::cpu {

/// Adds the squares of the rows that `product` takes to the record of its layer,
/// as r1::Observation describes it, if the step has records and the product is
/// observed. Each thread has columns of its own: sums do not depend on how many
/// threads there are. Fails where the rows are not floats.
mlir::LogicalResult emitInputSquares(Phase &phase,
                                     r1::ProductInterface product);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_INPUTSQUARES_H
