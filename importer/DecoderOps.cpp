//===- DecoderOps.cpp - Pieces of decoders as ops -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/DecoderOps.h"

#include "importer/Rope.h"

using namespace llvm;
using mlir::FlatSymbolRefAttr;
using mlir::Value;

namespace sputnik {

static constexpr StringLiteral kHeadTensor = "lm_head.weight";

DecoderOps::DecoderOps(ModelBuilder &model)
    : model(model), config(model.config()),
      tiedHead(config.tieWordEmbeddings || !model.hasTensor(kHeadTensor)) {}

FlatSymbolRefAttr DecoderOps::symbol(StringRef name) {
  return FlatSymbolRefAttr::get(model.ops().getContext(), name);
}

mlir::FloatAttr DecoderOps::f32(double value) {
  return model.ops().getF32FloatAttr(static_cast<float>(value));
}

Value DecoderOps::norm(Value input, StringRef weight, Value layer, double eps,
                       int64_t headDim) {
  return r1::RMSNormOp::create(
      model.ops(), model.loc(), input.getType(), input, symbol(weight), layer,
      f32(eps), headDim ? model.ops().getI64IntegerAttr(headDim) : nullptr);
}

Value DecoderOps::linear(Value input, StringRef weight, Value layer,
                         int64_t features, StringRef bias) {
  return r1::LinearOp::create(
      model.ops(), model.loc(), model.rows(features), input, symbol(weight),
      layer, bias.empty() ? FlatSymbolRefAttr() : symbol(bias));
}

Value DecoderOps::rope(Value input, Value table, int64_t headDim) {
  return r1::RopeOp::create(model.ops(), model.loc(), input.getType(), input,
                            table, model.ops().getI64IntegerAttr(headDim));
}

Value DecoderOps::add(Value lhs, Value rhs) {
  return r1::AddOp::create(model.ops(), model.loc(), lhs.getType(), lhs, rhs);
}

Value DecoderOps::feedForward(Value input, const Twine &prefix, Value layer,
                              int64_t inner) {
  Value gate = linear(input, (prefix + "_gate").str(), layer, inner);
  Value up = linear(input, (prefix + "_up").str(), layer, inner);
  Value product =
      r1::SwiGLUOp::create(model.ops(), model.loc(), gate.getType(), gate, up);
  return linear(product, (prefix + "_down").str(), layer, config.hiddenSize);
}

Value DecoderOps::ropeTable() {
  return r1::RopeTableOp::create(model.ops(), model.loc(),
                                 model.rows(config.headDim), model.positions(),
                                 model.ops().getDenseF64ArrayAttr(
                                     ropeFrequencies(config.rope,
                                                     config.headDim)),
                                 f32(config.rope.cosSinFactor()));
}

Value DecoderOps::layers(Value stream, LayerRange range, Layer build) {
  mlir::OpBuilder &ops = model.ops();
  auto layers = r1::LayersOp::create(ops, model.loc(), stream.getType(), stream,
                                     ops.getI64IntegerAttr(range.count),
                                     ops.getI64IntegerAttr(range.first));
  mlir::Block &body = layers.getBody().emplaceBlock();
  Value layer = body.addArgument(ops.getIndexType(), model.loc());
  Value inner = body.addArgument(stream.getType(), model.loc());
  mlir::OpBuilder::InsertionGuard guard(ops);
  ops.setInsertionPointToEnd(&body);
  r1::YieldOp::create(ops, model.loc(), build(inner, layer));
  return layers.getResult();
}

Error DecoderOps::addEmbedding() {
  return model.addWeight("embed", "model.embed_tokens.weight",
                         {config.vocabSize, config.hiddenSize});
}

Error DecoderOps::addHead() {
  if (Error error =
          model.addWeight("norm", "model.norm.weight", {config.hiddenSize}))
    return error;
  if (tiedHead)
    return Error::success();
  return model.addWeight("head", kHeadTensor,
                         {config.vocabSize, config.hiddenSize});
}

Value DecoderOps::embedding() {
  return r1::EmbedOp::create(model.ops(), model.loc(),
                             model.rows(config.hiddenSize), model.tokens(),
                             symbol("embed"));
}

Value DecoderOps::logits(Value stream) {
  Value selected =
      r1::SelectRowsOp::create(model.ops(), model.loc(), stream.getType(),
                               stream, model.outputs());
  return linear(norm(selected, "norm", nullptr, config.rmsNormEps),
                headWeight(), nullptr, config.vocabSize);
}

Value DecoderOps::normalizedLogits(Value rows) {
  Value selected = r1::SelectRowsOp::create(
      model.ops(), model.loc(), rows.getType(), rows, model.outputs());
  return linear(selected, headWeight(), nullptr, config.vocabSize);
}

} // namespace sputnik
