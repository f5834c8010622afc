//===- DenseDecoder.cpp - Decoders without experts ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/DenseDecoder.h"

#include "importer/Rope.h"

#include <cmath>

using namespace llvm;
using mlir::FlatSymbolRefAttr;
using mlir::Value;

namespace sputnik {
namespace {

constexpr StringLiteral kHeadTensor = "lm_head.weight";

class DenseDecoderBuilder {
public:
  DenseDecoderBuilder(ModelBuilder &model, const DenseDecoder &decoder)
      : model(model), decoder(decoder), config(model.config()),
        tiedHead(config.tieWordEmbeddings || !model.hasTensor(kHeadTensor)) {}

  Error addWeights();
  void buildForward();

private:
  Value buildLayer(Value stream, Value layer, Value table);
  Value buildAttention(Value input, Value layer, Value table);
  Value buildFeedForward(Value input, Value layer);

  FlatSymbolRefAttr symbol(StringRef name) {
    return FlatSymbolRefAttr::get(model.ops().getContext(), name);
  }
  mlir::FloatAttr eps() {
    return model.ops().getF32FloatAttr(static_cast<float>(config.rmsNormEps));
  }
  Value norm(Value input, StringRef weight, Value layer) {
    return r1::RMSNormOp::create(model.ops(), model.loc(), input.getType(),
                                 input, symbol(weight), layer, eps(), nullptr);
  }
  /// Over each head, with the weight only if the decoder has such norms.
  Value headNorm(Value input, StringRef weight, Value layer) {
    if (!decoder.queryKeyNorm)
      return input;
    return r1::RMSNormOp::create(model.ops(), model.loc(), input.getType(),
                                 input, symbol(weight), layer, eps(),
                                 model.ops().getI64IntegerAttr(config.headDim));
  }
  Value linear(Value input, StringRef weight, Value layer, int64_t features,
               StringRef bias = "") {
    return r1::LinearOp::create(
        model.ops(), model.loc(), model.rows(features), input, symbol(weight),
        layer, bias.empty() ? FlatSymbolRefAttr() : symbol(bias));
  }
  Value rope(Value input, Value table) {
    return r1::RopeOp::create(model.ops(), model.loc(), input.getType(), input,
                              table,
                              model.ops().getI64IntegerAttr(config.headDim));
  }
  Value add(Value lhs, Value rhs) {
    return r1::AddOp::create(model.ops(), model.loc(), lhs.getType(), lhs, rhs);
  }

  int64_t queryFeatures() const { return config.heads * config.headDim; }
  int64_t keyFeatures() const { return config.kvHeads * config.headDim; }

  ModelBuilder &model;
  const DenseDecoder &decoder;
  const ModelConfig &config;
  /// A checkpoint without a head has a tied one, whatever it says.
  const bool tiedHead;
};

Error DenseDecoderBuilder::addWeights() {
  const int64_t hidden = config.hiddenSize, inner = config.intermediateSize,
                query = queryFeatures(), key = keyFeatures(),
                vocabulary = config.vocabSize;
  if (Error error = model.addWeight("embed", "model.embed_tokens.weight",
                                    {vocabulary, hidden}))
    return error;

  struct LayerWeight {
    StringLiteral symbol, tensor;
    SmallVector<int64_t, 2> shape;
    bool present = true;
  };
  const bool bias = decoder.queryKeyValueBias;
  const LayerWeight weights[] = {
      {"attn_norm", "input_layernorm.weight", {hidden}},
      {"attn_q", "self_attn.q_proj.weight", {query, hidden}},
      {"attn_q_bias", "self_attn.q_proj.bias", {query}, bias},
      {"attn_k", "self_attn.k_proj.weight", {key, hidden}},
      {"attn_k_bias", "self_attn.k_proj.bias", {key}, bias},
      {"attn_v", "self_attn.v_proj.weight", {key, hidden}},
      {"attn_v_bias", "self_attn.v_proj.bias", {key}, bias},
      {"q_norm",
       "self_attn.q_norm.weight",
       {config.headDim},
       decoder.queryKeyNorm},
      {"k_norm",
       "self_attn.k_norm.weight",
       {config.headDim},
       decoder.queryKeyNorm},
      {"attn_out", "self_attn.o_proj.weight", {hidden, query}},
      {"attn_out_bias", "self_attn.o_proj.bias", {hidden}, decoder.outputBias},
      {"ffn_norm", "post_attention_layernorm.weight", {hidden}},
      {"ffn_gate", "mlp.gate_proj.weight", {inner, hidden}},
      {"ffn_up", "mlp.up_proj.weight", {inner, hidden}},
      {"ffn_down", "mlp.down_proj.weight", {hidden, inner}},
  };
  for (const LayerWeight &weight : weights)
    if (weight.present)
      if (Error error =
              model.addLayerWeight(weight.symbol, weight.tensor, weight.shape))
        return error;

  if (Error error = model.addWeight("norm", "model.norm.weight", {hidden}))
    return error;
  if (tiedHead)
    return Error::success();
  return model.addWeight("head", kHeadTensor, {vocabulary, hidden});
}

Value DenseDecoderBuilder::buildAttention(Value input, Value layer,
                                          Value table) {
  const bool bias = decoder.queryKeyValueBias;
  Value query = linear(input, "attn_q", layer, queryFeatures(),
                       bias ? "attn_q_bias" : "");
  Value key =
      linear(input, "attn_k", layer, keyFeatures(), bias ? "attn_k_bias" : "");
  Value value =
      linear(input, "attn_v", layer, keyFeatures(), bias ? "attn_v_bias" : "");
  query = rope(headNorm(query, "q_norm", layer), table);
  key = rope(headNorm(key, "k_norm", layer), table);
  r1::KVAppendOp::create(model.ops(), model.loc(), model.cache(), layer, key,
                         value, model.slots(), model.positions());
  const double scale = 1 / std::sqrt(static_cast<double>(config.headDim));
  Value attended = r1::AttentionOp::create(
      model.ops(), model.loc(), query.getType(), query, model.cache(), layer,
      model.slots(), model.positions(),
      model.ops().getF32FloatAttr(static_cast<float>(scale)));
  return linear(attended, "attn_out", layer, config.hiddenSize,
                decoder.outputBias ? "attn_out_bias" : "");
}

Value DenseDecoderBuilder::buildFeedForward(Value input, Value layer) {
  const int64_t inner = config.intermediateSize;
  Value gate = linear(input, "ffn_gate", layer, inner);
  Value up = linear(input, "ffn_up", layer, inner);
  Value product =
      r1::SwiGLUOp::create(model.ops(), model.loc(), gate.getType(), gate, up);
  return linear(product, "ffn_down", layer, config.hiddenSize);
}

Value DenseDecoderBuilder::buildLayer(Value stream, Value layer, Value table) {
  stream = add(stream,
               buildAttention(norm(stream, "attn_norm", layer), layer, table));
  return add(stream, buildFeedForward(norm(stream, "ffn_norm", layer), layer));
}

void DenseDecoderBuilder::buildForward() {
  model.beginForward();
  mlir::OpBuilder &ops = model.ops();
  const mlir::Location loc = model.loc();
  mlir::RankedTensorType streamType = model.rows(config.hiddenSize);

  Value table = r1::RopeTableOp::create(
      ops, loc, model.rows(config.headDim), model.positions(),
      ops.getDenseF64ArrayAttr(ropeFrequencies(config.rope, config.headDim)),
      ops.getF32FloatAttr(static_cast<float>(config.rope.cosSinFactor())));
  Value embedded = r1::EmbedOp::create(ops, loc, streamType, model.tokens(),
                                       symbol("embed"));
  auto layers = r1::LayersOp::create(ops, loc, streamType, embedded,
                                     ops.getI64IntegerAttr(config.layers),
                                     ops.getI64IntegerAttr(0));
  mlir::Block &body = layers.getBody().emplaceBlock();
  Value layer = body.addArgument(ops.getIndexType(), loc);
  Value stream = body.addArgument(streamType, loc);
  {
    mlir::OpBuilder::InsertionGuard guard(ops);
    ops.setInsertionPointToEnd(&body);
    r1::YieldOp::create(ops, loc, buildLayer(stream, layer, table));
  }

  Value selected = r1::SelectRowsOp::create(
      ops, loc, streamType, layers.getResult(), model.outputs());
  Value normed = norm(selected, "norm", nullptr);
  model.endForward(
      linear(normed, tiedHead ? "embed" : "head", nullptr, config.vocabSize));
}

} // namespace

Error buildDenseDecoder(ModelBuilder &model, const DenseDecoder &decoder) {
  DenseDecoderBuilder builder(model, decoder);
  if (Error error = builder.addWeights())
    return error;
  builder.buildForward();
  return Error::success();
}

} // namespace sputnik
