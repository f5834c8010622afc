//===- DeepSeekV3Config.cpp - Keys of deepseek_v3 -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/DeepSeekV3Config.h"

#include "importer/InputError.h"
#include "importer/Json.h"
#include "importer/ModelConfigChecks.h"

using namespace llvm;

namespace sputnik {
namespace {

/// The keys that a file uses for what the checks speak of.
struct ExpertKeys {
  StringLiteral count, chosen, groups, keptGroups, shared, innerSize;
};

void checkLatent(ConfigFields &fields, StringRef headsKey,
                 const ModelConfig &config) {
  const LatentConfig &latent = *config.latent;
  const int64_t widest = std::max(latent.keyDim + latent.rotaryDim,
                                  latent.keyDim + latent.valueDim);
  if (config.heads * widest > maxDimension)
    fields.wrong(headsKey, "at most " + Twine(maxDimension / widest) +
                               " heads of size " + Twine(widest));
}

void checkExperts(ConfigFields &fields, const ExpertKeys &keys,
                  const ExpertsConfig &experts) {
  if (experts.count % experts.groups != 0 ||
      experts.count / experts.groups < 2) {
    fields.wrong(keys.count, "a multiple of the " + Twine(experts.groups) +
                                 " groups, of two experts or more");
    return;
  }
  if (experts.keptGroups > experts.groups)
    fields.wrong(keys.keptGroups,
                 "at most the " + Twine(experts.groups) + " groups");
  const int64_t kept = experts.keptGroups * (experts.count / experts.groups);
  if (experts.chosen > kept)
    fields.wrong(keys.chosen, "at most the " + Twine(kept) +
                                  " experts of the groups that are kept");
  if (experts.count * experts.innerSize > maxDimension)
    fields.wrong(keys.innerSize,
                 "at most " + Twine(maxDimension / experts.count) + " for " +
                     Twine(experts.count) + " experts");
}

void readLatent(ConfigFields &fields, ModelConfig &config) {
  LatentConfig &latent = config.latent.emplace();
  latent.queryRank =
      fields.optionalInteger("q_lora_rank", 1, maxDimension).value_or(0);
  latent.rank = fields.integer("kv_lora_rank", 1, maxLatent);
  latent.keyDim = fields.integer("qk_nope_head_dim", 1, maxHeadDim);
  latent.rotaryDim = config.headDim;
  latent.valueDim = fields.integer("v_head_dim", 1, maxHeadDim);
  latent.interleaved = fields.boolean("rope_interleave", true);
  if (fields.boolean("attention_bias", false))
    fields.wrong("attention_bias", "false: the feature is not supported");
  checkLatent(fields, "num_attention_heads", config);
}

void readExperts(ConfigFields &fields, ModelConfig &config) {
  constexpr ExpertKeys keys = {"n_routed_experts", "num_experts_per_tok",
                               "n_group",          "topk_group",
                               "n_shared_experts", "moe_intermediate_size"};
  ExpertsConfig &experts = config.experts.emplace();
  experts.firstLayer = fields.integer("first_k_dense_replace", 0, maxLayers);
  if (experts.firstLayer > config.layers)
    fields.wrong("first_k_dense_replace",
                 "at most the " + Twine(config.layers) + " layers");
  experts.count = fields.integer(keys.count, 1, maxExperts);
  experts.chosen = fields.integer(keys.chosen, 1, maxExperts);
  experts.groups = fields.integer(keys.groups, 1, maxExperts);
  experts.keptGroups = fields.integer(keys.keptGroups, 1, maxExperts);
  experts.shared = fields.integer(keys.shared, 1, maxExperts);
  experts.innerSize = fields.integer(keys.innerSize, 1, maxDimension);
  experts.normalize = fields.boolean("norm_topk_prob", true);
  experts.scale = fields.real("routed_scaling_factor", {0, 1e6});
  if (fields.integer("moe_layer_freq", 1, maxLayers, 1) != 1)
    fields.wrong("moe_layer_freq", "1");
  if (fields.string("scoring_func", StringRef("sigmoid")) != "sigmoid")
    fields.wrong("scoring_func", "'sigmoid'");
  if (fields.string("topk_method", StringRef("noaux_tc")) != "noaux_tc")
    fields.wrong("topk_method", "'noaux_tc'");
  checkExperts(fields, keys, experts);
}

/// What is known of the groups of models whose files do not tell.
constexpr int64_t kFullSizeExperts = 256, kFullSizeGroups = 8,
                  kFullSizeKeptGroups = 4;

Error readScaling(const JsonFields &fields, const json::Object &scaling,
                  ModelConfig &config) {
  JsonFields nested(scaling, fields.file(), "quantization_config.");
  if (nested.string("quant_method") != "fp8")
    nested.wrong("quant_method", "'fp8'");
  if (nested.string("fmt", StringRef("e4m3")) != "e4m3")
    nested.wrong("fmt", "'e4m3'");
  if (nested.has("weight_block_size")) {
    const json::Array *sizes = scaling.getArray("weight_block_size");
    for (size_t i = 0; i < config.scaleBlock.size(); ++i) {
      std::optional<int64_t> size =
          sizes && sizes->size() == config.scaleBlock.size()
              ? jsonInteger((*sizes)[i])
              : std::nullopt;
      if (!size || *size < 1 || *size > maxDimension) {
        nested.wrong("weight_block_size", "two whole numbers from 1 to " +
                                              Twine(maxDimension));
        break;
      }
      config.scaleBlock[i] = *size;
    }
  }
  config.float8 = true;
  return nested.takeError();
}

void readLatent(GgufFields &fields, ModelConfig &config) {
  LatentConfig &latent = config.latent.emplace();
  latent.queryRank =
      fields.optionalInteger(".attention.q_lora_rank", 1, maxDimension)
          .value_or(0);
  latent.rank = fields.integer(".attention.kv_lora_rank", 1, maxLatent);
  latent.rotaryDim = config.headDim;
  // Files for absorbed attention say the sizes of its heads without `_mla`.
  const bool absorbed = fields.has(".attention.key_length_mla");
  latent.keyDim = fields.integer(absorbed ? ".attention.key_length_mla"
                                          : ".attention.key_length",
                                 config.headDim + 1, maxHeadDim) -
                  config.headDim;
  latent.valueDim = fields.integer(absorbed ? ".attention.value_length_mla"
                                            : ".attention.value_length",
                                   1, maxHeadDim);
  checkLatent(fields, ".attention.head_count", config);
}

void readExperts(GgufFields &fields, ModelConfig &config) {
  constexpr ExpertKeys keys = {".expert_count",
                               ".expert_used_count",
                               ".expert_group_count",
                               ".expert_group_used_count",
                               ".expert_shared_count",
                               ".expert_feed_forward_length"};
  ExpertsConfig &experts = config.experts.emplace();
  experts.firstLayer =
      fields.integer(".leading_dense_block_count", 0, config.layers, 0);
  experts.count = fields.integer(keys.count, 1, maxExperts);
  const bool full = experts.count == kFullSizeExperts;
  experts.chosen = fields.integer(keys.chosen, 1, maxExperts);
  experts.groups = fields.integer(keys.groups, 1, maxExperts,
                                  full ? kFullSizeGroups : 1);
  experts.keptGroups = fields.integer(keys.keptGroups, 1, maxExperts,
                                      full ? kFullSizeKeptGroups : 1);
  experts.shared = fields.integer(keys.shared, 1, maxExperts);
  experts.innerSize = fields.integer(keys.innerSize, 1, maxDimension);
  experts.normalize = fields.boolean(".expert_weights_norm", false);
  experts.scale = fields.real(".expert_weights_scale", {0, 1e6}, 1);
  constexpr int64_t sigmoid = 2;
  if (fields.integer(".expert_gating_func", 0, 1000) != sigmoid)
    fields.wrong(".expert_gating_func", "2, the sigmoid");
  checkExperts(fields, keys, experts);
}

} // namespace

void readDeepSeek2(GgufFields &fields, ModelConfig &config) {
  readLatent(fields, config);
  readExperts(fields, config);
}

Error readDeepSeekV3(JsonFields &fields, const json::Object &object,
                     ModelConfig &config) {
  readLatent(fields, config);
  readExperts(fields, config);
  config.draftLayers =
      fields.integer("num_nextn_predict_layers", 0, maxLayers, 0);
  if (fields.failed() || !fields.has("quantization_config"))
    return fields.takeError();
  const json::Object *scaling = object.getObject("quantization_config");
  if (scaling)
    return readScaling(fields, *scaling, config);
  fields.wrong("quantization_config", "an object or null");
  return fields.takeError();
}

} // namespace sputnik
