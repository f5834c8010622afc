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
  return addWeight(symbol, {tensor.str()}, shape, /*parts=*/1, nullptr);
}

static std::string layerTensor(int64_t layer, const Twine &tensor) {
  return ("model.layers." + Twine(layer) + "." + tensor).str();
}

Error ModelBuilder::addLayerWeight(StringRef symbol, StringRef tensor,
                                   ArrayRef<int64_t> shape, LayerRange range) {
  SmallVector<std::string> tensors;
  for (int64_t i = 0; i < range.count; ++i)
    tensors.push_back(layerTensor(range.first + i, tensor));
  return addWeight(symbol, tensors, shape, /*parts=*/1,
                   builder.getI64IntegerAttr(range.count));
}

Error ModelBuilder::addPartsWeight(StringRef symbol, StringRef prefix,
                                   int64_t parts, StringRef tensor,
                                   ArrayRef<int64_t> shape, LayerRange range) {
  // GGUF has the parts of a layer in one tensor.
  const std::string merged = (prefix + "." + tensor).str();
  if (checkpoint.find(layerTensor(range.first, merged)))
    return addLayerWeight(symbol, merged, {parts, shape[0], shape[1]},
                          range);
  SmallVector<std::string> tensors;
  for (int64_t i = 0; i < range.count; ++i)
    for (int64_t part = 0; part < parts; ++part)
      tensors.push_back(layerTensor(
          range.first + i, prefix + "." + Twine(part) + "." + tensor));
  return addWeight(symbol, tensors, shape, parts,
                   builder.getI64IntegerAttr(range.count));
}

Expected<r1::WeightOp>
ModelBuilder::addStored(StringRef symbol, ArrayRef<std::string> tensors,
                        ArrayRef<int64_t> shape, int64_t parts,
                        mlir::IntegerAttr layers) {
  SmallVector<mlir::Attribute> origins;
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
  }
  SmallVector<int64_t> whole(shape);
  if (whole.size() == 3) {
    whole[1] *= whole[0];
    whole.erase(whole.begin());
  }
  whole[0] *= parts;
  auto type = mlir::RankedTensorType::get(whole, builder.getF32Type());
  return r1::WeightOp::create(builder, loc(), builder.getStringAttr(symbol),
                              mlir::TypeAttr::get(type),
                              builder.getArrayAttr(origins), layers);
}

static std::string scaleName(StringRef tensor) {
  return (tensor + "_scale_inv").str();
}

Error ModelBuilder::addWeight(StringRef symbol, ArrayRef<std::string> tensors,
                              ArrayRef<int64_t> shape, int64_t parts,
                              mlir::IntegerAttr layers) {
  // The tensors of a stack are scaled all or none.
  for (const std::string &tensor : tensors)
    if (checkpoint.find(scaleName(tensor)))
      return addScaled(symbol, tensors, shape, parts, layers);

  const TensorRef *first = checkpoint.find(tensors.front());
  const unsigned permutedHeads =
      first && !options.randomWeights ? first->permutedHeads : 0;
  const std::string stored =
      permutedHeads ? (symbol + "_interleaved").str() : symbol.str();
  Expected<r1::WeightOp> weight =
      addStored(stored, tensors, shape, parts, layers);
  if (!weight)
    return weight.takeError();
  if (permutedHeads)
    addDerived(symbol, stored, [&](mlir::OpBuilder &body, mlir::Value value) {
      return r1::UnpermuteOp::create(
          body, loc(), value.getType(), value,
          builder.getI64IntegerAttr(shape[0] / permutedHeads));
    });
  return Error::success();
}

Error ModelBuilder::addScaled(StringRef symbol, ArrayRef<std::string> tensors,
                              ArrayRef<int64_t> shape, int64_t parts,
                              mlir::IntegerAttr layers) {
  if (shape.size() != 2)
    return inputError(checkpoint.path(), "has scales " +
                                             quoted(scaleName(tensors[0])) +
                                             " for a vector");
  const std::array<int64_t, 2> &block = config().scaleBlock;
  SmallVector<std::string> scaleTensors;
  for (const std::string &tensor : tensors)
    scaleTensors.push_back(scaleName(tensor));
  const std::string stored = (symbol + "_stored").str();
  Expected<r1::WeightOp> weight =
      addStored(stored, tensors, shape, parts, layers);
  if (!weight)
    return weight.takeError();
  Expected<r1::WeightOp> scales = addStored(
      (symbol + "_scale").str(), scaleTensors,
      {static_cast<int64_t>(divideCeil(shape[0], block[0])),
       static_cast<int64_t>(divideCeil(shape[1], block[1]))},
      parts, layers);
  if (!scales)
    return scales.takeError();
  addDerived(symbol, stored, [&](mlir::OpBuilder &body, mlir::Value value) {
    mlir::Value read = r1::ReadOp::create(
        body, loc(), scales->getType(),
        mlir::FlatSymbolRefAttr::get(scales->getSymNameAttr()));
    return r1::BlockScaleOp::create(
        body, loc(), value.getType(), value, read, block,
        parts > 1 ? builder.getI64IntegerAttr(shape[0]) : mlir::IntegerAttr());
  });
  return Error::success();
}

void ModelBuilder::addDerived(StringRef symbol, StringRef source,
                              Program build) {
  mlir::Operation *weight = module.lookupSymbol(source);
  mlir::RankedTensorType type = r1::lookupWeightType(
      module, mlir::FlatSymbolRefAttr::get(builder.getContext(), source));
  auto derived = r1::DerivedOp::create(
      builder, loc(), builder.getStringAttr(symbol), mlir::TypeAttr::get(type),
      weight->getAttrOfType<mlir::IntegerAttr>("layers"),
      /*placement=*/nullptr);
  mlir::OpBuilder body =
      mlir::OpBuilder::atBlockEnd(&derived.getBody().emplaceBlock());
  mlir::Value value = build(
      body, r1::ReadOp::create(
                body, loc(), type,
                mlir::FlatSymbolRefAttr::get(builder.getContext(), source)));
  derived.setType(cast<mlir::RankedTensorType>(value.getType()));
  r1::YieldOp::create(body, loc(), value);
}

r1::KVCacheType ModelBuilder::cacheType() {
  const int64_t context =
      options.maxContext ? options.maxContext : config().maxPositions;
  const int64_t positions = alignTo(context, r1::KVCacheType::kPanel);
  const int64_t layers = config().layers + moreCacheLayers;
  mlir::Type element =
      options.kvElement ? options.kvElement : builder.getF32Type();
  if (const std::optional<LatentConfig> &latent = config().latent)
    return r1::KVCacheType::get(builder.getContext(), layers,
                                /*heads=*/1, latent->rank + latent->rotaryDim,
                                element, positions, latent->rank);
  return r1::KVCacheType::get(builder.getContext(), layers,
                              config().kvHeads, config().headDim, element,
                              positions, /*latent=*/0);
}

void ModelBuilder::begin(StringRef name, mlir::TypeRange further) {
  auto indices = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic},
                                             builder.getI32Type());
  SmallVector<mlir::Type> inputs = {indices, indices, indices, indices,
                                    cacheType()};
  append_range(inputs, further);
  function = mlir::func::FuncOp::create(builder, loc(), name,
                                        builder.getFunctionType(inputs, {}));
  builder.setInsertionPointToStart(function.addEntryBlock());
}

void ModelBuilder::end(mlir::Value logits, mlir::Value state) {
  SmallVector<mlir::Value> results = {logits};
  if (state)
    results.push_back(state);
  mlir::func::ReturnOp::create(builder, loc(), results);
  function.setFunctionType(builder.getFunctionType(
      function.getArgumentTypes(), mlir::ValueRange(results).getTypes()));
  builder.setInsertionPointToEnd(module.getBody());
}

} // namespace sputnik
