//===- ModelBuilder.h - What builders of all architectures share *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_MODELBUILDER_H
#define SPUTNIK_IMPORTER_MODELBUILDER_H

#include "importer/Graph.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace sputnik {

/// Layers of the checkpoint that share an `r1.layers`.
struct LayerRange {
  int64_t first, count;
};

/// Fills a module with the weights and the functions of one model. A tensor
/// that has another named `<tensor>_scale_inv` is multiplied by the scales
/// there, one for each block of ModelConfig::scaleBlock.
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
  /// checkpoint has in another order come back in Hugging Face's; matrices of
  /// a tensor of rank 3 lie one under the other.
  llvm::Error addLayerWeight(llvm::StringRef symbol, llvm::StringRef tensor,
                             llvm::ArrayRef<int64_t> shape) {
    return addLayerWeight(symbol, tensor, shape, {0, config().layers});
  }
  llvm::Error addLayerWeight(llvm::StringRef symbol, llvm::StringRef tensor,
                             llvm::ArrayRef<int64_t> shape, LayerRange range);
  /// Declares the stack of `model.layers.N.<prefix>.E.<tensor>`, matrices of
  /// `shape` for each of `parts` values of E, one under the other; or of
  /// `model.layers.N.<prefix>.<tensor>`, which has them all.
  llvm::Error addPartsWeight(llvm::StringRef symbol, llvm::StringRef prefix,
                             int64_t parts, llvm::StringRef tensor,
                             llvm::ArrayRef<int64_t> shape, LayerRange range);

  /// Declares `symbol` as what `build` makes of the declared weight `source`.
  using Program =
      llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Value)>;
  void addDerived(llvm::StringRef symbol, llvm::StringRef source,
                  Program build);

  /// The cache has room for the layers of the configuration and `count` more.
  void addCacheLayers(int64_t count) { moreCacheLayers = count; }

  /// Opens `@forward`: further ops go into its body. The cache has kvHeads
  /// heads of headDim features for each layer, or latents.
  void beginForward() { begin("forward", {}); }
  /// Opens `@draft`, which takes the state that `@forward` leaves as well.
  void beginDraft() { begin("draft", rows(config().hiddenSize)); }
  /// Returns the logits from the function that is open, and the state in which
  /// it leaves each row for a draft, if there is one.
  void end(mlir::Value logits, mlir::Value state = {});

  mlir::Value tokens() { return function.getArgument(0); }
  mlir::Value slots() { return function.getArgument(1); }
  mlir::Value positions() { return function.getArgument(2); }
  mlir::Value outputs() { return function.getArgument(3); }
  mlir::Value cache() { return function.getArgument(4); }
  mlir::Value state() { return function.getArgument(r1::kStepInputs); }

  /// `tensor<? x features x f32>`.
  mlir::RankedTensorType rows(int64_t features);

private:
  llvm::Error addWeight(llvm::StringRef symbol,
                        llvm::ArrayRef<std::string> tensors,
                        llvm::ArrayRef<int64_t> shape, int64_t parts,
                        mlir::IntegerAttr layers);
  /// Declares what is stored in `tensors`, each of `shape`.
  llvm::Expected<r1::WeightOp>
  addStored(llvm::StringRef symbol, llvm::ArrayRef<std::string> tensors,
            llvm::ArrayRef<int64_t> shape, int64_t parts,
            mlir::IntegerAttr layers);
  llvm::Error addScaled(llvm::StringRef symbol,
                        llvm::ArrayRef<std::string> tensors,
                        llvm::ArrayRef<int64_t> shape, int64_t parts,
                        mlir::IntegerAttr layers);
  r1::OriginAttr originOf(const TensorRef &tensor);
  r1::KVCacheType cacheType();
  void begin(llvm::StringRef name, mlir::TypeRange further);

  const Checkpoint &checkpoint;
  mlir::ModuleOp module;
  const ImportOptions &options;
  mlir::OpBuilder builder;
  mlir::func::FuncOp function;
  int64_t moreCacheLayers = 0;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_MODELBUILDER_H
