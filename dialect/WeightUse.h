//===- WeightUse.h - Checks of ops that read weights ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_DIALECT_WEIGHTUSE_H
#define SPUTNIK_DIALECT_WEIGHTUSE_H

#include "dialect/R1.h"

namespace sputnik::r1 {

/// Features of rows of activations.
int64_t features(mlir::Value rows);

/// Checks that a weight exists, that it is stacked exactly if a layer is given,
/// and that its shape is `shape`. With `parts`, its rows fall into that many
/// equal parts of `shape[0]` rows or more.
mlir::LogicalResult verifyWeight(mlir::Operation *op,
                                 mlir::SymbolTableCollection &symbols,
                                 mlir::FlatSymbolRefAttr name,
                                 mlir::Value layer,
                                 llvm::ArrayRef<int64_t> shape,
                                 int64_t parts = 0);

} // namespace sputnik::r1

#endif // SPUTNIK_DIALECT_WEIGHTUSE_H
