//===- GgufConfig.cpp - A model's sizes from GGUF metadata ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ConfigFields.h"
#include "importer/DeepSeekV3Config.h"
#include "importer/Gguf.h"
#include "importer/ModelConfig.h"
#include "importer/ModelConfigChecks.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;

namespace sputnik {
namespace {

constexpr ConfigKeys ggufKeys = {
    ".embedding_length",
    ".feed_forward_length",
    ".block_count",
    ".attention.head_count",
    ".attention.head_count_kv",
    ".attention.key_length",
    ".context_length",
    ".attention.layer_norm_rms_epsilon",
};

const TensorRef *findTensor(ArrayRef<TensorRef> tensors, StringRef name) {
  const TensorRef *it =
      find_if(tensors, [&](const TensorRef &t) { return t.name == name; });
  return it == tensors.end() ? nullptr : it;
}

/// The rows of the embedding; where there is none, what the metadata say.
int64_t readVocabSize(GgufFields &fields, const GgufFile &file,
                      ArrayRef<TensorRef> tensors) {
  const int64_t claimed = fields.integer(".vocab_size", 1, maxDimension, 0);
  const TensorRef *table = findTensor(tensors, "model.embed_tokens.weight");
  int64_t size = claimed;
  if (table && table->shape.size() == 2)
    size = table->shape[0];
  else if (const GgufValue *tokens = file.find("tokenizer.ggml.tokens");
           tokens && size == 0)
    size = static_cast<int64_t>(
        std::min<uint64_t>(tokens->count, uint64_t(maxDimension) + 1));
  if (size < 1 || size > maxDimension) {
    fields.fail("has a vocabulary of " + Twine(size) +
                " tokens, expected 1 to " + Twine(maxDimension));
    return 1;
  }
  return size;
}

void readRope(GgufFields &fields, const ModelConfig &config, RopeConfig &rope) {
  rope.theta = fields.real(".rope.freq_base", {1, 1e30}, 10000);
  if (fields.real(".rope.scale_linear", {0, 1e6}, 1) != 1)
    fields.wrong(".rope.scale_linear", "1");
  const std::string type =
      fields.string(".rope.scaling.type", StringRef("none"));
  if (type == "none")
    return;
  if (type != "yarn") {
    fields.wrong(".rope.scaling.type", "'none' or 'yarn'");
    return;
  }
  rope.kind = RopeConfig::Kind::Yarn;
  rope.factor = fields.real(".rope.scaling.factor", {1, 1e6, /*open=*/false});
  rope.originalMaxPositions =
      fields.integer(".rope.scaling.original_context_length", 1, maxContext,
                     config.maxPositions);
  rope.betaFast = fields.real(".rope.scaling.yarn_beta_fast", {0, 1e6}, 32);
  rope.betaSlow = fields.real(".rope.scaling.yarn_beta_slow", {0, 1e6}, 1);
  if (fields.real(".rope.scaling.yarn_ext_factor", {-1e3, 1e3}, 1) != 1)
    fields.wrong(".rope.scaling.yarn_ext_factor", "1");
  // Both multiply the factor on cos and sin.
  for (StringRef key :
       {".rope.scaling.attn_factor", ".rope.scaling.yarn_attn_factor"})
    if (std::optional<double> factor = fields.optionalReal(key, {0, 1e3}))
      rope.attnFactor = rope.attnFactor.value_or(1) * *factor;
  if (std::optional<double> multiplier = fields.optionalReal(
          ".rope.scaling.yarn_log_multiplier", {0, 1e3, /*open=*/false}))
    rope.mscale = rope.mscaleAllDim = *multiplier / 0.1;
  checkRope(fields, rope);
}

} // namespace

Expected<ModelConfig> modelConfigFromGguf(const GgufFile &file,
                                          ArrayRef<TensorRef> tensors) {
  const GgufValue *value = file.find("general.architecture");
  StringRef architecture;
  if (value)
    architecture = value->asString().value_or("");
  GgufFields fields(file, architecture);
  const ModelFamily *found = familyOfGguf(fields, architecture);
  if (!found)
    return fields.takeError();

  ModelConfig config;
  config.modelType = found->modelType.str();
  ModelFamily family = *found;
  family.headDim = 0;
  ConfigKeys keys = ggufKeys;
  const bool latent = config.modelType == "deepseek_v3";
  if (latent)
    keys.headDim = ".rope.dimension_count";
  readSizes(fields, keys, family, config);
  if (!latent)
    for (StringRef key : {".attention.value_length", ".rope.dimension_count"})
      if (fields.integer(key, 1, maxDimension, config.headDim) !=
          config.headDim)
        fields.wrong(key, Twine(config.headDim) + ", the size of a head");
  config.vocabSize = readVocabSize(fields, file, tensors);
  config.tieWordEmbeddings = !findTensor(tensors, "lm_head.weight");
  const StringRef attention = "model.layers.0.self_attn.";
  config.attentionBias = family.attentionBias ||
                         findTensor(tensors, (attention + "q_proj.bias").str());
  config.attentionOutputBias =
      findTensor(tensors, (attention + "o_proj.bias").str());
  config.qkNorm = family.qkNorm;
  config.bosId = fields.optionalInteger("tokenizer.ggml.bos_token_id", 0,
                                        config.vocabSize - 1);
  if (std::optional<int64_t> eos = fields.optionalInteger(
          "tokenizer.ggml.eos_token_id", 0, config.vocabSize - 1))
    config.eosIds.push_back(*eos);
  if (latent)
    readDeepSeek2(fields, config);
  readRope(fields, config, config.rope);
  if (Error error = fields.takeError())
    return error;
  return config;
}

void markPermutedRows(const ModelConfig &config,
                      MutableArrayRef<TensorRef> tensors) {
  const ModelFamily *family =
      find_if(modelFamilies(), [&](const ModelFamily &f) {
        return config.modelType == f.modelType;
      });
  if (!family->ggufPermutesQK)
    return;
  for (TensorRef &tensor : tensors) {
    StringRef name = tensor.name;
    const bool bias = name.consume_back(".bias");
    if (!bias && !name.consume_back(".weight"))
      continue;
    if (name.ends_with(".self_attn.q_proj"))
      tensor.permutedHeads = config.heads;
    else if (name.ends_with(".self_attn.k_proj"))
      tensor.permutedHeads = config.kvHeads;
  }
}

} // namespace sputnik
