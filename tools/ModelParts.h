//===- ModelParts.h - Where the parameters of a model are -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TOOLS_MODELPARTS_H
#define SPUTNIK_TOOLS_MODELPARTS_H

#include "dialect/R1.h"

namespace sputnik {

/// Weights that are read in the same way.
struct ModelPart {
  llvm::StringLiteral name;
  int64_t parameters = 0;
  /// Of those, what each generated token reads: all, or a share of experts; of
  /// a table that is only looked up in, nothing.
  int64_t perToken = 0;
  /// The bytes of both, where weights have encodings.
  int64_t bytes = 0, bytesPerToken = 0;
};

/// The parts of a graph as the importer builds it, encoded or not: embedding,
/// experts, other weights of layers, head. A table that is the head too counts
/// as the head. Scales of stored blocks are no parameters.
llvm::SmallVector<ModelPart> countParts(mlir::ModuleOp module);

} // namespace sputnik

#endif // SPUTNIK_TOOLS_MODELPARTS_H
