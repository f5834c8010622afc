//===- DenseDecoder.cpp - Decoders without experts ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/DenseDecoder.h"

#include "importer/DecoderOps.h"

#include <cmath>

using namespace llvm;
using mlir::Value;

namespace sputnik {
namespace {

class DenseDecoderBuilder {
public:
  DenseDecoderBuilder(ModelBuilder &model, const DenseDecoder &decoder)
      : model(model), ops(model), decoder(decoder), config(model.config()) {}

  Error addWeights();
  void buildForward();

private:
  Value buildLayer(Value stream, Value layer, Value table);
  Value buildAttention(Value input, Value layer, Value table);

  Value norm(Value input, StringRef weight, Value layer) {
    return ops.norm(input, weight, layer, config.rmsNormEps);
  }
  /// Over each head, with the weight only if the decoder has such norms.
  Value headNorm(Value input, StringRef weight, Value layer) {
    if (!decoder.queryKeyNorm)
      return input;
    return ops.norm(input, weight, layer, config.rmsNormEps, config.headDim);
  }

  int64_t queryFeatures() const { return config.heads * config.headDim; }
  int64_t keyFeatures() const { return config.kvHeads * config.headDim; }

  ModelBuilder &model;
  DecoderOps ops;
  const DenseDecoder &decoder;
  const ModelConfig &config;
};

Error DenseDecoderBuilder::addWeights() {
  const int64_t hidden = config.hiddenSize, inner = config.intermediateSize,
                query = queryFeatures(), key = keyFeatures();
  if (Error error = ops.addEmbedding())
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
  return ops.addHead();
}

Value DenseDecoderBuilder::buildAttention(Value input, Value layer,
                                          Value table) {
  const bool bias = decoder.queryKeyValueBias;
  Value query = ops.linear(input, "attn_q", layer, queryFeatures(),
                           bias ? "attn_q_bias" : "");
  Value key = ops.linear(input, "attn_k", layer, keyFeatures(),
                         bias ? "attn_k_bias" : "");
  Value value = ops.linear(input, "attn_v", layer, keyFeatures(),
                           bias ? "attn_v_bias" : "");
  query = ops.rope(headNorm(query, "q_norm", layer), table, config.headDim);
  key = ops.rope(headNorm(key, "k_norm", layer), table, config.headDim);
  r1::KVAppendOp::create(model.ops(), model.loc(), model.cache(), layer, key,
                         value, model.slots(), model.positions());
  const double scale = 1 / std::sqrt(static_cast<double>(config.headDim));
  Value attended = r1::AttentionOp::create(
      model.ops(), model.loc(), query.getType(), query, model.cache(), layer,
      model.slots(), model.positions(), ops.f32(scale));
  return ops.linear(attended, "attn_out", layer, config.hiddenSize,
                    decoder.outputBias ? "attn_out_bias" : "");
}

Value DenseDecoderBuilder::buildLayer(Value stream, Value layer, Value table) {
  stream = ops.add(
      stream, buildAttention(norm(stream, "attn_norm", layer), layer, table));
  return ops.add(stream,
                 ops.feedForward(norm(stream, "ffn_norm", layer), "ffn", layer,
                                 config.intermediateSize));
}

void DenseDecoderBuilder::buildForward() {
  model.beginForward();
  Value table = ops.ropeTable();
  Value stream = ops.layers(ops.embedding(), {0, config.layers},
                            [&](Value input, Value layer) {
                              return buildLayer(input, layer, table);
                            });
  model.end(ops.logits(stream));
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
