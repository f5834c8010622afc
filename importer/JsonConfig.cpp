//===- JsonConfig.cpp - config.json and generation_config.json ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ConfigFields.h"
#include "importer/DeepSeekV3Config.h"
#include "importer/InputError.h"
#include "importer/Json.h"
#include "importer/ModelConfig.h"
#include "importer/ModelConfigChecks.h"

using namespace llvm;

namespace sputnik {
namespace {

constexpr ConfigKeys jsonKeys = {
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
};
constexpr size_t maxEosIds = 64;

/// An id, or for `eos_token_id` also a list of ids.
SmallVector<int64_t, 4> readIds(JsonFields &fields, const json::Object &object,
                                StringRef key, int64_t vocabSize) {
  const json::Array *list = object.getArray(key);
  if (!list) {
    std::optional<int64_t> id = fields.optionalInteger(key, 0, vocabSize - 1);
    return id ? SmallVector<int64_t, 4>{*id} : SmallVector<int64_t, 4>();
  }
  if (list->size() > maxEosIds) {
    fields.fail("key " + quoted(key) + " has " + Twine(list->size()) +
                " elements, expected at most " + Twine(maxEosIds));
    return {};
  }
  SmallVector<int64_t, 4> ids;
  for (const json::Value &element : *list) {
    std::optional<int64_t> id = jsonInteger(element);
    if (!id || *id < 0 || *id >= vocabSize) {
      fields.fail("key " + quoted(key) +
                  " has an element that is no token id from 0 to " +
                  Twine(vocabSize - 1));
      return {};
    }
    ids.push_back(*id);
  }
  return ids;
}

/// Keys with which a model would compute something else than we do.
void refuseUnsupported(JsonFields &fields, const json::Object &object,
                       const ModelConfig &config) {
  for (StringRef key : {"use_sliding_window", "use_mrope", "mlp_bias"})
    if (fields.boolean(key, false))
      fields.wrong(key, "false: the feature is not supported");
  if (fields.string("hidden_act", "silu") != "silu")
    fields.wrong("hidden_act", "'silu'");
  if (fields.real("partial_rotary_factor", {0, 1}, 1) != 1)
    fields.wrong("partial_rotary_factor", "1");
  if (fields.has("quantization_config") && config.modelType != "deepseek_v3")
    fields.wrong("quantization_config",
                 "none: weights quantized by another program are not "
                 "supported");

  if (const json::Array *architectures = object.getArray("architectures"))
    for (const json::Value &element : *architectures)
      if (!element.getAsString().value_or("").ends_with("ForCausalLM"))
        fields.fail("key 'architectures' is " +
                    quoted(element.getAsString().value_or("")) +
                    ", expected a name that ends in 'ForCausalLM'");

  const json::Array *types = object.getArray("layer_types");
  if (!types) {
    if (fields.has("layer_types"))
      fields.wrong("layer_types", "an array");
    return;
  }
  if (types->size() != static_cast<uint64_t>(config.layers))
    fields.fail("key 'layer_types' has " + Twine(types->size()) +
                " elements, expected one for each of the " +
                Twine(config.layers) + " layers");
  for (const json::Value &type : *types)
    if (type.getAsString() != StringRef("full_attention"))
      fields.fail("key 'layer_types' has the element " +
                  quoted(type.getAsString().value_or("")) +
                  ", expected 'full_attention'");
}

/// The scaling in `fields`, the object `rope_scaling` or `rope_parameters`.
void readScaling(ConfigFields &fields, const ModelConfig &config,
                 RopeConfig &rope) {
  const bool hasType = fields.has("rope_type");
  const std::string type =
      fields.string(hasType ? "rope_type" : "type", StringRef("default"));
  if (hasType && fields.has("type") && fields.string("type") != type)
    fields.wrong("type", quoted(type) + ", as 'rope_type' says");
  if (type == "default")
    return;
  if (type == "llama3") {
    rope.kind = RopeConfig::Kind::Llama3;
    rope.factor = fields.real("factor", {0, 1e6});
    rope.lowFreqFactor = fields.real("low_freq_factor", {0, 1e6});
    rope.highFreqFactor = fields.real("high_freq_factor", {0, 1e6});
    rope.originalMaxPositions =
        fields.integer("original_max_position_embeddings", 1, maxContext);
  } else if (type == "yarn") {
    rope.kind = RopeConfig::Kind::Yarn;
    rope.originalMaxPositions = fields.integer(
        "original_max_position_embeddings", 1, maxContext, config.maxPositions);
    rope.factor =
        fields.real("factor", {0, 1e6},
                    static_cast<double>(config.maxPositions) /
                        static_cast<double>(rope.originalMaxPositions));
    rope.betaFast = fields.real("beta_fast", {0, 1e6}, 32);
    rope.betaSlow = fields.real("beta_slow", {0, 1e6}, 1);
    rope.attentionFactor = fields.optionalReal("attention_factor", {0, 1e3});
    rope.attnFactor = fields.optionalReal("attn_factor", {0, 1e3});
    rope.mscale = fields.optionalReal("mscale", {0, 1e3, /*open=*/false});
    rope.mscaleAllDim =
        fields.optionalReal("mscale_all_dim", {0, 1e3, /*open=*/false});
    if (!fields.boolean("truncate", true))
      fields.wrong("truncate", "true");
  } else {
    fields.wrong(hasType ? "rope_type" : "type",
                 "one of default, llama3, yarn");
    return;
  }
  if (rope.factor < 1)
    fields.wrong("factor", "at least 1");
  checkRope(fields, rope);
}

/// Old files have `rope_theta` and `rope_scaling`, new ones put both into
/// `rope_parameters`.
Error readRope(JsonFields &fields, const json::Object &object,
               ModelConfig &config) {
  constexpr double maxTheta = 1e30;
  RopeConfig &rope = config.rope;
  rope.theta = fields.real("rope_theta", {1, maxTheta}, 10000);
  for (StringRef key : {"rope_parameters", "rope_scaling"}) {
    if (!fields.has(key))
      continue;
    const json::Object *nested = object.getObject(key);
    if (!nested) {
      fields.wrong(key, "an object or null");
      break;
    }
    JsonFields scaling(*nested, fields.file(), (key + ".").str());
    for (const auto &[name, value] : *nested)
      if (value.getAsObject())
        scaling.wrong(name, "one set of values for all layers");
    rope.theta = scaling.real("rope_theta", {1, maxTheta}, rope.theta);
    if (scaling.real("partial_rotary_factor", {0, 1}, 1) != 1)
      scaling.wrong("partial_rotary_factor", "1");
    readScaling(scaling, config, rope);
    if (Error error = scaling.takeError())
      return error;
    break;
  }
  return Error::success();
}

Expected<const json::Object *> asObject(const json::Value &value,
                                        StringRef file) {
  if (const json::Object *object = value.getAsObject())
    return object;
  return inputError(file, "is not a JSON object");
}

} // namespace

Expected<ModelConfig> modelConfigFromJson(const json::Value &value,
                                          StringRef file) {
  Expected<const json::Object *> object = asObject(value, file);
  if (!object)
    return object.takeError();
  JsonFields fields(**object, file);
  ModelConfig config;
  config.modelType = fields.string("model_type");
  if (fields.failed())
    return fields.takeError();
  const ModelFamily *found = familyOfModelType(fields, config.modelType);
  if (!found)
    return fields.takeError();
  const ModelFamily &family = *found;
  ConfigKeys keys = jsonKeys;
  // The only heads of this family that RoPE and `head_dim` speak of.
  if (config.modelType == "deepseek_v3") {
    keys.headDim = "qk_rope_head_dim";
    const int64_t rotary = fields.integer(keys.headDim, 2, maxHeadDim);
    if (fields.optionalInteger(jsonKeys.headDim, 2, maxHeadDim)
            .value_or(rotary) != rotary)
      fields.wrong(jsonKeys.headDim, "absent, or " + Twine(rotary) +
                                         " as qk_rope_head_dim is");
  }

  readSizes(fields, keys, family, config);
  config.vocabSize = fields.integer("vocab_size", 1, maxDimension);
  config.tieWordEmbeddings = fields.boolean("tie_word_embeddings", false);
  const bool bias = fields.boolean("attention_bias", false);
  config.attentionBias = family.attentionBias || bias;
  config.attentionOutputBias = !family.attentionBias && bias;
  config.qkNorm = family.qkNorm;
  config.bosId =
      fields.optionalInteger("bos_token_id", 0, config.vocabSize - 1);
  config.eosIds = readIds(fields, **object, "eos_token_id", config.vocabSize);
  refuseUnsupported(fields, **object, config);
  if (fields.failed())
    return fields.takeError();
  if (config.modelType == "deepseek_v3")
    if (Error error = readDeepSeekV3(fields, **object, config))
      return error;
  if (Error error = readRope(fields, **object, config))
    return error;
  if (Error error = fields.takeError())
    return error;
  return config;
}

Expected<GenerationConfig> generationConfigFromJson(const json::Value &value,
                                                    StringRef file,
                                                    int64_t vocabSize) {
  Expected<const json::Object *> object = asObject(value, file);
  if (!object)
    return object.takeError();
  JsonFields fields(**object, file);
  GenerationConfig config;
  config.doSample = fields.boolean("do_sample", false);
  config.temperature =
      fields.optionalReal("temperature", {0, 100, /*open=*/false});
  config.topP = fields.optionalReal("top_p", {0, 1});
  config.topK = fields.optionalInteger("top_k", 0, maxDimension);
  if (config.topK == 0)
    config.topK = std::nullopt;
  config.bosId = fields.optionalInteger("bos_token_id", 0, vocabSize - 1);
  config.eosIds = readIds(fields, **object, "eos_token_id", vocabSize);
  if (Error error = fields.takeError())
    return error;
  return config;
}

} // namespace sputnik
