//===- ModelBuilder.h - What builders of all architectures share *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_MODELBUILDER_H
#define SPUTNIK_IMPORTER_MODELBUILDER_H

#include "importer/Graph.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace sputnik {

/// Fills a module with the weights and the `@forward` of one model.
class ModelBuilder {
public:
  ModelBuilder(const Checkpoint &checkpoint, mlir::ModuleOp module,
               const ImportOptions &options);

  const ModelConfig &config() const { return checkpoint.config(); }
  mlir::OpBuilder &ops() { return builder; }
  mlir::Location loc() { return module.getLoc(); }

  /// True if the checkpoint has `tensor`, or no tensors at all.
  bool hasTensor(llvm::StringRef tensor) const {
    return options.randomWeights || checkpoint.find(tensor);
  }

  /// Declares the weight `symbol` of `shape`, the checkpoint's tensor `tensor`.
  llvm::Error addWeight(llvm::StringRef symbol, llvm::StringRef tensor,
                        llvm::ArrayRef<int64_t> shape);
  /// Declares the stack of the tensors `model.layers.N.<tensor>`. Rows that the
  /// checkpoint has in another order come back in Hugging Face's.
  llvm::Error addLayerWeight(llvm::StringRef symbol, llvm::StringRef tensor,
                             llvm::ArrayRef<int64_t> shape);

  /// Opens `@forward`: further ops go into its body. The cache has kvHeads
  /// heads of headDim features for each layer.
  void beginForward();
  /// Returns the logits from `@forward`.
  void endForward(mlir::Value logits);

  mlir::Value tokens() { return forward.getArgument(0); }
  mlir::Value slots() { return forward.getArgument(1); }
  mlir::Value positions() { return forward.getArgument(2); }
  mlir::Value outputs() { return forward.getArgument(3); }
  mlir::Value cache() { return forward.getArgument(4); }

  /// `tensor<? x features x f32>`.
  mlir::RankedTensorType rows(int64_t features);

private:
  llvm::Error addWeight(llvm::StringRef symbol,
                        llvm::ArrayRef<std::string> tensors,
                        llvm::ArrayRef<int64_t> shape,
                        mlir::IntegerAttr layers);
  /// Declares `symbol` as `stored` with the row order of interleaved RoPE
  /// undone.
  void addUnpermuted(llvm::StringRef symbol, llvm::StringRef stored,
                     mlir::RankedTensorType type, mlir::IntegerAttr layers,
                     int64_t headDim);
  r1::OriginAttr originOf(const TensorRef &tensor);

  const Checkpoint &checkpoint;
  mlir::ModuleOp module;
  const ImportOptions &options;
  mlir::OpBuilder builder;
  mlir::func::FuncOp forward;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_MODELBUILDER_H
