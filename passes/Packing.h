//===- Packing.h - Layouts that a target's kernels read ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_PASSES_PACKING_H
#define SPUTNIK_PASSES_PACKING_H

#include "dialect/R1.h"

namespace sputnik::r1 {

/// The encoding of a matrix of `scheme` that is not packed.
EncodingAttr getRowMajor(mlir::MLIRContext *context, Scheme scheme);

/// The encoding of a matrix of `scheme` that `r1.linear` reads on `target`
/// (null: any).
EncodingAttr choosePacking(mlir::MLIRContext *context, TargetAttr target,
                           Scheme scheme);

} // namespace sputnik::r1

#endif // SPUTNIK_PASSES_PACKING_H
