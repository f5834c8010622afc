//===- Graph.h - From a checkpoint to an r1 module --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_GRAPH_H
#define SPUTNIK_IMPORTER_GRAPH_H

#include "dialect/R1.h"
#include "importer/Checkpoint.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace sputnik {

struct ImportOptions {
  /// Becomes the module's attribute r1.target.
  r1::TargetAttr target = nullptr;
  /// What the KV cache stores, f32, bf16 or i8; null is f32.
  mlir::Type kvElement = nullptr;
  /// Positions that a conversation may have, at most the model's; 0 takes the
  /// model's. The cache gets the next multiple of its panel.
  int64_t maxContext = 0;
  /// Builds the graph from the configuration alone. Origins then have no file,
  /// no bytes and the stored type kRandomStored.
  bool randomWeights = false;
};

/// The stored type of a weight that no file holds.
inline constexpr llvm::StringLiteral kRandomStored = "random";

/// Builds the model as the checkpoint describes it: one r1.weight per kind of
/// tensor, stacked over layers, and
/// `@forward(tokens, slots, positions, outputs, cache)`, which gives logits
/// [rows of outputs, vocabulary]; and `@draft` where the checkpoint has a head that
/// predicts further tokens.
/// Errors: a tensor that is missing or has another shape than the configuration
/// says; a context longer than the model's; a cache that cannot hold i8.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
importModel(const Checkpoint &checkpoint, mlir::MLIRContext &context,
            const ImportOptions &options);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_GRAPH_H
