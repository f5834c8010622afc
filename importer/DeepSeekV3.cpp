//===- DeepSeekV3.cpp - The deepseek_v3 architecture ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/DeepSeekV3.h"

#include "importer/DecoderOps.h"

#include <cmath>

using namespace llvm;
using mlir::Value;

namespace sputnik {
namespace {

/// Of the norms inside attention, whatever the configuration says.
constexpr double kInnerEps = 1e-6;

/// Layers of one form. Their weights have names that begin with `prefix`.
struct LayerGroup {
  StringLiteral prefix;
  LayerRange range;
  bool experts;
};

class DeepSeekV3Builder {
public:
  explicit DeepSeekV3Builder(ModelBuilder &model)
      : model(model), ops(model), config(model.config()),
        latent(*config.latent), experts(*config.experts) {
    const int64_t dense = experts.firstLayer;
    if (dense)
      groups.push_back({"dense_", {0, dense}, false});
    if (dense < config.layers)
      groups.push_back({"", {dense, config.layers - dense}, true});
    // Conversions tend to leave it out.
    if (config.draftLayers && model.hasTensor(draftTensor("eh_proj.weight")))
      draft = {"draft_", {config.layers, 1}, true};
  }

  Error addWeights();
  void buildForward();
  bool hasDraft() const { return draft.has_value(); }
  /// The head that predicts the token after the next (multi-token prediction).
  void buildDraft();

private:
  /// The tensor of the layer behind the last.
  std::string draftTensor(const Twine &name) const {
    return ("model.layers." + Twine(config.layers) + "." + name).str();
  }
  Error addDraft();
  Error addAttention(const LayerGroup &group);
  Error addDense(const LayerGroup &group);
  Error addExperts(const LayerGroup &group);
  /// Declares `symbol` as rows [first, first + count) of each `part` rows of
  /// `source`; with `rotary`, in the order of rotate-half RoPE.
  void addRows(const Twine &symbol, const Twine &source, int64_t part,
               int64_t first, int64_t count, bool rotary = false);

  /// Ops of the layers of one group.
  struct Layer {
    DeepSeekV3Builder &model;
    StringRef prefix;
    Value index, table;

    std::string name(const Twine &weight) const {
      return (prefix + weight).str();
    }
    Value linear(Value input, const Twine &weight, int64_t features) {
      return model.ops.linear(input, name(weight), index, features);
    }
    Value norm(Value input, const Twine &weight, double eps) {
      return model.ops.norm(input, name(weight), index, eps);
    }
    Value attention(Value input);
    Value mixture(Value input);
  };
  Value buildLayer(const LayerGroup &group, Value stream, Value index,
                   Value table);

  ModelBuilder &model;
  DecoderOps ops;
  const ModelConfig &config;
  const LatentConfig &latent;
  const ExpertsConfig &experts;
  SmallVector<LayerGroup, 2> groups;
  std::optional<LayerGroup> draft;
};

void DeepSeekV3Builder::addRows(const Twine &symbol, const Twine &source,
                                int64_t part, int64_t first, int64_t count,
                                bool rotary) {
  model.addDerived(
      symbol.str(), source.str(), [&](mlir::OpBuilder &body, Value value) {
        auto type = cast<mlir::RankedTensorType>(value.getType());
        const int64_t parts = type.getDimSize(0) / part;
        auto rows = mlir::RankedTensorType::get(
            {parts * count, type.getDimSize(1)}, type.getElementType());
        value = r1::SliceRowsOp::create(body, model.loc(), rows, value, part,
                                        first);
        if (rotary && latent.interleaved)
          value = r1::UnpermuteOp::create(body, model.loc(), rows, value,
                                          body.getI64IntegerAttr(count));
        return value;
      });
}

Error DeepSeekV3Builder::addAttention(const LayerGroup &group) {
  const int64_t hidden = config.hiddenSize, heads = config.heads,
                key = latent.keyDim, rotary = latent.rotaryDim,
                value = latent.valueDim, rank = latent.rank,
                queryRank = latent.queryRank;
  struct LayerWeight {
    StringLiteral symbol, tensor;
    SmallVector<int64_t, 3> shape;
    bool present = true;
  };
  // Some GGUF files have the keys' and values' halves of each head apart.
  const std::string layer =
      ("model.layers." + Twine(group.range.first) + ".").str();
  const bool splitHeads =
      !model.hasTensor(layer + "self_attn.kv_b_proj.weight") &&
      model.hasTensor(layer + "self_attn.k_b_proj.weight");
  const LayerWeight weights[] = {
      {"attn_norm", "input_layernorm.weight", {hidden}},
      {"attn_q_a",
       "self_attn.q_a_proj.weight",
       {queryRank, hidden},
       queryRank != 0},
      {"attn_q_a_norm",
       "self_attn.q_a_layernorm.weight",
       {queryRank},
       queryRank != 0},
      {"attn_q",
       queryRank ? StringLiteral("self_attn.q_b_proj.weight")
                 : StringLiteral("self_attn.q_proj.weight"),
       {heads * (key + rotary), queryRank ? queryRank : hidden}},
      {"attn_kv_a",
       "self_attn.kv_a_proj_with_mqa.weight",
       {rank + rotary, hidden}},
      {"attn_kv_a_norm", "self_attn.kv_a_layernorm.weight", {rank}},
      {"attn_kv_b",
       "self_attn.kv_b_proj.weight",
       {heads * (key + value), rank},
       !splitHeads},
      {"attn_k_b_transposed",
       "self_attn.k_b_proj.weight",
       {heads, rank, key},
       splitHeads},
      {"attn_v_b",
       "self_attn.v_b_proj.weight",
       {heads, value, rank},
       splitHeads},
      {"attn_out", "self_attn.o_proj.weight", {hidden, heads * value}},
      {"ffn_norm", "post_attention_layernorm.weight", {hidden}},
  };
  for (const LayerWeight &weight : weights)
    if (weight.present)
      if (Error error = model.addLayerWeight(
              (group.prefix + weight.symbol).str(), weight.tensor, weight.shape,
              group.range))
        return error;
  const StringRef prefix = group.prefix;
  addRows(prefix + "attn_q_key", prefix + "attn_q", key + rotary, 0, key);
  addRows(prefix + "attn_q_rotary", prefix + "attn_q", key + rotary, key,
          rotary, /*rotary=*/true);
  addRows(prefix + "attn_latent", prefix + "attn_kv_a", rank + rotary, 0, rank);
  addRows(prefix + "attn_k_rotary", prefix + "attn_kv_a", rank + rotary, rank,
          rotary, /*rotary=*/true);
  if (!splitHeads) {
    addRows(prefix + "attn_k_b", prefix + "attn_kv_b", key + value, 0, key);
    addRows(prefix + "attn_v_b", prefix + "attn_kv_b", key + value, key, value);
    return Error::success();
  }
  model.addDerived(
      (prefix + "attn_k_b").str(), (prefix + "attn_k_b_transposed").str(),
      [&](mlir::OpBuilder &body, Value stored) {
        auto type = mlir::RankedTensorType::get({heads * key, rank},
                                                body.getF32Type());
        return r1::TransposeOp::create(body, model.loc(), type, stored, rank);
      });
  return Error::success();
}

Error DeepSeekV3Builder::addDense(const LayerGroup &group) {
  const int64_t hidden = config.hiddenSize, inner = config.intermediateSize;
  const std::string name = (group.prefix + "ffn_").str();
  if (Error error = model.addLayerWeight(name + "gate", "mlp.gate_proj.weight",
                                         {inner, hidden}, group.range))
    return error;
  if (Error error = model.addLayerWeight(name + "up", "mlp.up_proj.weight",
                                         {inner, hidden}, group.range))
    return error;
  return model.addLayerWeight(name + "down", "mlp.down_proj.weight",
                              {hidden, inner}, group.range);
}

Error DeepSeekV3Builder::addExperts(const LayerGroup &group) {
  const int64_t hidden = config.hiddenSize, inner = experts.innerSize,
                shared = experts.shared * inner;
  const std::string prefix = group.prefix.str();
  if (Error error = model.addLayerWeight(prefix + "router", "mlp.gate.weight",
                                         {experts.count, hidden}, group.range))
    return error;
  if (Error error = model.addLayerWeight(prefix + "router_bias",
                                         "mlp.gate.e_score_correction_bias",
                                         {experts.count}, group.range))
    return error;
  for (StringRef matrix : {"gate", "up", "down"}) {
    const std::string tensor = (matrix + "_proj.weight").str();
    const bool down = matrix == "down";
    const auto shape = [&](int64_t width) -> SmallVector<int64_t, 2> {
      return {down ? hidden : width, down ? width : hidden};
    };
    if (Error error = model.addPartsWeight(prefix + "experts_" + matrix.str(),
                                           "mlp.experts", experts.count, tensor,
                                           shape(inner), group.range))
      return error;
    if (Error error = model.addLayerWeight(prefix + "shared_" + matrix.str(),
                                           "mlp.shared_experts." + tensor,
                                           shape(shared), group.range))
      return error;
  }
  return Error::success();
}

Error DeepSeekV3Builder::addDraft() {
  const int64_t hidden = config.hiddenSize;
  for (auto [symbol, tensor] :
       {std::pair("draft_embed_norm", "enorm.weight"),
        std::pair("draft_state_norm", "hnorm.weight"),
        std::pair("draft_norm", "shared_head.norm.weight")})
    if (Error error = model.addWeight(symbol, draftTensor(tensor), {hidden}))
      return error;
  // One product of both halves side by side is a sum of two.
  if (Error error =
          model.addWeight("draft_join", draftTensor("eh_proj.weight"),
                          {hidden, 2 * hidden}))
    return error;
  for (auto [symbol, first] : {std::pair("draft_join_embed", int64_t{0}),
                               std::pair("draft_join_state", hidden)})
    model.addDerived(symbol, "draft_join",
                     [&](mlir::OpBuilder &body, Value value) {
                       auto type = mlir::RankedTensorType::get(
                           {hidden, hidden}, body.getF32Type());
                       return r1::SliceColumnsOp::create(body, model.loc(),
                                                         type, value, first);
                     });
  if (Error error = addAttention(*draft))
    return error;
  return addExperts(*draft);
}

Error DeepSeekV3Builder::addWeights() {
  if (Error error = ops.addEmbedding())
    return error;
  for (const LayerGroup &group : groups) {
    if (Error error = addAttention(group))
      return error;
    if (Error error = group.experts ? addExperts(group) : addDense(group))
      return error;
  }
  if (draft)
    if (Error error = addDraft())
      return error;
  return ops.addHead();
}

Value DeepSeekV3Builder::Layer::attention(Value input) {
  ModelBuilder &builder = model.model;
  const ModelConfig &config = model.config;
  const LatentConfig &latent = model.latent;
  const int64_t heads = config.heads;
  Value compressed = input;
  if (latent.queryRank)
    compressed = norm(linear(input, "attn_q_a", latent.queryRank),
                      "attn_q_a_norm", kInnerEps);
  Value cached = linear(input, "attn_latent", latent.rank);
  Value key = linear(input, "attn_k_rotary", latent.rotaryDim);
  r1::LatentAppendOp::create(builder.ops(), builder.loc(), builder.cache(),
                             index, norm(cached, "attn_kv_a_norm", kInnerEps),
                             model.ops.rope(key, table, latent.rotaryDim),
                             builder.slots(), builder.positions());

  Value query = linear(compressed, "attn_q_key", heads * latent.keyDim);
  Value rotary = linear(compressed, "attn_q_rotary", heads * latent.rotaryDim);
  rotary = model.ops.rope(rotary, table, latent.rotaryDim);
  const double scale =
      config.rope.scoreFactor() /
      std::sqrt(static_cast<double>(latent.keyDim + latent.rotaryDim));
  Value attended = r1::LatentAttentionOp::create(
      builder.ops(), builder.loc(), builder.rows(heads * latent.valueDim),
      query, rotary, builder.cache(), index, model.ops.symbol(name("attn_k_b")),
      model.ops.symbol(name("attn_v_b")), builder.slots(), builder.positions(),
      model.ops.f32(scale));
  return linear(attended, "attn_out", config.hiddenSize);
}

Value DeepSeekV3Builder::Layer::mixture(Value input) {
  ModelBuilder &builder = model.model;
  mlir::OpBuilder &b = builder.ops();
  const ModelConfig &config = model.config;
  const ExpertsConfig &experts = model.experts;
  auto scores = cast<r1::LinearOp>(
      linear(input, "router", experts.count).getDefiningOp());
  scores.setPrecise(true);
  auto chosenType = mlir::RankedTensorType::get(
      {mlir::ShapedType::kDynamic, experts.chosen}, b.getI32Type());
  auto route = r1::RouteOp::create(
      b, builder.loc(), chosenType, builder.rows(experts.chosen),
      scores.getResult(), model.ops.symbol(name("router_bias")), index,
      b.getI64IntegerAttr(experts.groups),
      b.getI64IntegerAttr(experts.keptGroups),
      experts.normalize ? b.getUnitAttr() : nullptr,
      model.ops.f32(experts.scale));
  Value inner = r1::ExpertsUpOp::create(
      b, builder.loc(), builder.rows(experts.chosen * experts.innerSize), input,
      route.getChosen(), model.ops.symbol(name("experts_gate")),
      model.ops.symbol(name("experts_up")), index,
      b.getI64IntegerAttr(experts.count), nullptr);
  Value mixed = r1::ExpertsDownOp::create(
      b, builder.loc(), builder.rows(config.hiddenSize), inner,
      route.getChosen(), route.getFactors(),
      model.ops.symbol(name("experts_down")), index,
      b.getI64IntegerAttr(experts.count));
  Value shared = model.ops.feedForward(input, prefix + "shared", index,
                                       experts.shared * experts.innerSize);
  return model.ops.add(mixed, shared);
}

Value DeepSeekV3Builder::buildLayer(const LayerGroup &group, Value stream,
                                    Value index, Value table) {
  Layer layer{*this, group.prefix, index, table};
  stream = ops.add(stream, layer.attention(layer.norm(stream, "attn_norm",
                                                      config.rmsNormEps)));
  Value input = layer.norm(stream, "ffn_norm", config.rmsNormEps);
  Value output = group.experts
                     ? layer.mixture(input)
                     : ops.feedForward(input, group.prefix + "ffn", index,
                                       config.intermediateSize);
  return ops.add(stream, output);
}

void DeepSeekV3Builder::buildForward() {
  model.addCacheLayers(draft ? 1 : 0);
  model.beginForward();
  Value table = ops.ropeTable();
  Value stream = ops.embedding();
  for (const LayerGroup &group : groups)
    stream = ops.layers(stream, group.range, [&](Value input, Value index) {
      return buildLayer(group, input, index, table);
    });
  if (!draft)
    return model.end(ops.logits(stream));
  Value state = ops.norm(stream, "norm", nullptr, config.rmsNormEps);
  model.end(ops.normalizedLogits(state), state);
}

void DeepSeekV3Builder::buildDraft() {
  model.beginDraft();
  Value table = ops.ropeTable();
  const double eps = config.rmsNormEps;
  Value embedded = ops.norm(ops.embedding(), "draft_embed_norm", nullptr, eps);
  Value state = ops.norm(model.state(), "draft_state_norm", nullptr, eps);
  Value joined = ops.add(
      ops.linear(embedded, "draft_join_embed", nullptr, config.hiddenSize),
      ops.linear(state, "draft_join_state", nullptr, config.hiddenSize));
  Value stream =
      ops.layers(joined, draft->range, [&](Value input, Value index) {
        return buildLayer(*draft, input, index, table);
      });
  state = ops.norm(stream, "draft_norm", nullptr, eps);
  model.end(ops.normalizedLogits(state), state);
}

} // namespace

Error buildDeepSeekV3(ModelBuilder &model) {
  DeepSeekV3Builder builder(model);
  if (Error error = builder.addWeights())
    return error;
  builder.buildForward();
  if (builder.hasDraft())
    builder.buildDraft();
  return Error::success();
}

} // namespace sputnik
