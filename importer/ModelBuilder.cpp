//===- ModelBuilder.cpp - What builders of all architectures share --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ModelBuilder.h"

#include "importer/InputError.h"

#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace sputnik {

ModelBuilder::ModelBuilder(const Checkpoint &checkpoint, mlir::ModuleOp module,
                           const ImportOptions &options)
    : checkpoint(checkpoint), module(module), options(options),
      builder(mlir::OpBuilder::atBlockEnd(module.getBody())) {}

mlir::RankedTensorType ModelBuilder::rows(int64_t features) {
  return mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, features},
                                     builder.getF32Type());
}

r1::OriginAttr ModelBuilder::originOf(const TensorRef &tensor) {
  StringRef file = checkpoint.files()[tensor.file].path();
  return r1::OriginAttr::get(builder.getContext(), sys::path::filename(file),
                             tensor.offset, tensor.bytes, name(tensor.type));
}

Error ModelBuilder::addWeight(StringRef symbol, StringRef tensor,
                              ArrayRef<int64_t> shape) {
  return addWeight(symbol, {tensor.str()}, shape, nullptr);
}

Error ModelBuilder::addLayerWeight(StringRef symbol, StringRef tensor,
                                   ArrayRef<int64_t> shape) {
  SmallVector<std::string> tensors;
  for (int64_t layer = 0; layer < config().layers; ++layer)
    tensors.push_back(("model.layers." + Twine(layer) + "." + tensor).str());
  return addWeight(symbol, tensors, shape,
                   builder.getI64IntegerAttr(config().layers));
}

Error ModelBuilder::addWeight(StringRef symbol, ArrayRef<std::string> tensors,
                              ArrayRef<int64_t> shape,
                              mlir::IntegerAttr layers) {
  SmallVector<mlir::Attribute> origins;
  unsigned permutedHeads = 0;
  for (const std::string &tensor : tensors) {
    if (options.randomWeights) {
      origins.push_back(
          r1::OriginAttr::get(builder.getContext(), "", 0, 0, kRandomStored));
      continue;
    }
    Expected<const TensorRef *> found = checkpoint.tensor(tensor, shape);
    if (!found)
      return found.takeError();
    origins.push_back(originOf(**found));
    permutedHeads = (*found)->permutedHeads;
  }

  auto type = mlir::RankedTensorType::get(shape, builder.getF32Type());
  std::string stored = symbol.str();
  if (permutedHeads)
    stored += "_interleaved";
  r1::WeightOp::create(builder, loc(), builder.getStringAttr(stored),
                       mlir::TypeAttr::get(type), builder.getArrayAttr(origins),
                       layers);
  if (permutedHeads)
    addUnpermuted(symbol, stored, type, layers, shape[0] / permutedHeads);
  return Error::success();
}

void ModelBuilder::addUnpermuted(StringRef symbol, StringRef stored,
                                 mlir::RankedTensorType type,
                                 mlir::IntegerAttr layers, int64_t headDim) {
  auto derived = r1::DerivedOp::create(
      builder, loc(), builder.getStringAttr(symbol), mlir::TypeAttr::get(type),
      layers, /*placement=*/nullptr);
  mlir::OpBuilder body =
      mlir::OpBuilder::atBlockEnd(&derived.getBody().emplaceBlock());
  mlir::Value value = r1::ReadOp::create(
      body, loc(), type,
      mlir::FlatSymbolRefAttr::get(builder.getContext(), stored));
  value = r1::UnpermuteOp::create(body, loc(), type, value,
                                  builder.getI64IntegerAttr(headDim));
  r1::YieldOp::create(body, loc(), value);
}

void ModelBuilder::beginForward() {
  const int64_t context =
      options.maxContext ? options.maxContext : config().maxPositions;
  mlir::Type element =
      options.kvElement ? options.kvElement : builder.getF32Type();
  auto cacheType = r1::KVCacheType::get(
      builder.getContext(), config().layers, config().kvHeads, config().headDim,
      element, alignTo(context, r1::KVCacheType::kPanel));
  auto indices = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic},
                                             builder.getI32Type());
  forward = mlir::func::FuncOp::create(
      builder, loc(), "forward",
      builder.getFunctionType({indices, indices, indices, indices, cacheType},
                              rows(config().vocabSize)));
  builder.setInsertionPointToStart(forward.addEntryBlock());
}

void ModelBuilder::endForward(mlir::Value logits) {
  mlir::func::ReturnOp::create(builder, loc(), logits);
  builder.setInsertionPointToEnd(module.getBody());
}

} // namespace sputnik
