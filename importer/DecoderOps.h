//===- DecoderOps.h - Pieces of decoders as ops -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_DECODEROPS_H
#define SPUTNIK_IMPORTER_DECODEROPS_H

#include "importer/ModelBuilder.h"

namespace sputnik {

/// Adds the ops that decoders of all architectures are made of to a function.
/// `layer` is the index of an r1.layers, or null outside.
class DecoderOps {
public:
  explicit DecoderOps(ModelBuilder &model);

  mlir::FlatSymbolRefAttr symbol(llvm::StringRef name);
  mlir::FloatAttr f32(double value);
  /// With `headDim`, over each head.
  mlir::Value norm(mlir::Value input, llvm::StringRef weight, mlir::Value layer,
                   double eps, int64_t headDim = 0);
  mlir::Value linear(mlir::Value input, llvm::StringRef weight,
                     mlir::Value layer, int64_t features,
                     llvm::StringRef bias = "");
  mlir::Value rope(mlir::Value input, mlir::Value table, int64_t headDim);
  mlir::Value add(mlir::Value lhs, mlir::Value rhs);
  /// The weights are `<prefix>_gate`, `<prefix>_up` and `<prefix>_down`.
  mlir::Value feedForward(mlir::Value input, const llvm::Twine &prefix,
                          mlir::Value layer, int64_t inner);

  /// Cosines and sines of the positions for heads of config().headDim.
  mlir::Value ropeTable();
  /// `count` layers from layer `first` of the cache; `build` makes the stream
  /// behind a layer of the stream before it.
  using Layer = llvm::function_ref<mlir::Value(mlir::Value stream,
                                               mlir::Value layer)>;
  mlir::Value layers(mlir::Value stream, LayerRange range, Layer build);

  /// Adds the weight `embed`; `norm` and, unless it is the embedding, `head`.
  /// Errors: see importModel.
  llvm::Error addEmbedding();
  llvm::Error addHead();
  mlir::Value embedding();
  /// The logits of the selected rows of the stream behind the last layer.
  mlir::Value logits(mlir::Value stream);
  /// The same of rows that are normalised already.
  mlir::Value normalizedLogits(mlir::Value rows);

private:
  llvm::StringRef headWeight() const { return tiedHead ? "embed" : "head"; }

  ModelBuilder &model;
  const ModelConfig &config;
  /// A checkpoint without a head has a tied one, whatever it says.
  const bool tiedHead;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_DECODEROPS_H
