//===- ModelConfigTest.cpp - Valid configurations -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Failure.h"
#include "FileWriters.h"

#include "importer/Gguf.h"
#include "importer/Json.h"
#include "importer/ModelConfig.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace llvm;

namespace sputnik::testing {
namespace {

Expected<ModelConfig> parse(StringRef text) {
  Expected<json::Value> value = parseJson(text, "x");
  if (!value)
    return value.takeError();
  return modelConfigFromJson(*value, "x");
}

/// smallConfig with these members in place of or beside its own.
Expected<ModelConfig> parseWith(StringRef modelType, StringRef members,
                                ArrayRef<StringRef> without = {}) {
  json::Value config = cantFail(parseJson(smallConfig(modelType), "small"));
  json::Value more = cantFail(parseJson(members, "members"));
  for (StringRef key : without)
    config.getAsObject()->erase(key);
  for (auto &[key, value] : *more.getAsObject())
    (*config.getAsObject())[key] = value;
  return modelConfigFromJson(config, "x");
}

TEST(ModelConfig, Sizes) {
  Expected<ModelConfig> config = parse(smallConfig("llama"));
  EXPECT_VALUE(config);
  EXPECT_EQ(config->modelType, "llama");
  EXPECT_EQ(config->hiddenSize, 8);
  EXPECT_EQ(config->intermediateSize, 12);
  EXPECT_EQ(config->layers, 2);
  EXPECT_EQ(config->heads, 2);
  EXPECT_EQ(config->kvHeads, 1);
  EXPECT_EQ(config->headDim, 4);
  EXPECT_EQ(config->vocabSize, 11);
  EXPECT_EQ(config->maxPositions, 64);
  EXPECT_EQ(config->rmsNormEps, 1e-6);
  EXPECT_FALSE(config->tieWordEmbeddings);
  EXPECT_FALSE(config->attentionBias);
  EXPECT_FALSE(config->qkNorm);
  EXPECT_EQ(config->rope.theta, 10000);
  EXPECT_EQ(config->rope.kind, RopeConfig::Kind::None);
  EXPECT_EQ(config->rope.cosSinFactor(), 1);
  EXPECT_EQ(config->bosId, 1);
  EXPECT_EQ(ArrayRef(config->eosIds), ArrayRef<int64_t>({2, 3}));
}

TEST(ModelConfig, Families) {
  Expected<ModelConfig> qwen2 = parse(smallConfig("qwen2"));
  EXPECT_VALUE(qwen2);
  EXPECT_TRUE(qwen2->attentionBias);
  EXPECT_FALSE(qwen2->attentionOutputBias);
  EXPECT_FALSE(qwen2->qkNorm);
  Expected<ModelConfig> qwen3 = parseWith("qwen3", "{}", {"head_dim"});
  EXPECT_VALUE(qwen3);
  EXPECT_FALSE(qwen3->attentionBias);
  EXPECT_TRUE(qwen3->qkNorm);
  EXPECT_EQ(qwen3->headDim, 128);
  Expected<ModelConfig> llama =
      parseWith("llama", "{\"attention_bias\": true}");
  EXPECT_VALUE(llama);
  EXPECT_TRUE(llama->attentionBias);
  EXPECT_TRUE(llama->attentionOutputBias);
}

TEST(ModelConfig, Defaults) {
  Expected<ModelConfig> config = parseWith(
      "llama", "{\"head_dim\": null, \"rope_scaling\": null}",
      {"num_key_value_heads", "rope_theta", "hidden_act", "tie_word_embeddings",
       "bos_token_id", "eos_token_id", "architectures"});
  EXPECT_VALUE(config);
  EXPECT_EQ(config->kvHeads, 2);
  EXPECT_EQ(config->headDim, 4);
  EXPECT_EQ(config->rope.theta, 10000);
  EXPECT_EQ(config->bosId, std::nullopt);
  EXPECT_TRUE(config->eosIds.empty());
}

TEST(ModelConfig, OtherSpellings) {
  Expected<ModelConfig> config =
      parseWith("qwen2",
                "{\"rope_parameters\": {\"rope_theta\": 1e6, \"rope_type\": "
                "\"default\"}, \"dtype\": \"bfloat16\", \"eos_token_id\": 4, "
                "\"layer_types\": [\"full_attention\", \"full_attention\"], "
                "\"sliding_window\": null, \"unheard_of\": {\"x\": [1]}}",
                {"rope_theta"});
  EXPECT_VALUE(config);
  EXPECT_EQ(config->rope.theta, 1e6);
  EXPECT_EQ(config->rope.kind, RopeConfig::Kind::None);
  EXPECT_EQ(ArrayRef(config->eosIds), ArrayRef<int64_t>({4}));
}

TEST(ModelConfig, Llama3Scaling) {
  const char *scaling =
      "{\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
      "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}";
  for (StringRef key : {"rope_scaling", "rope_parameters"}) {
    Expected<ModelConfig> config =
        parseWith("llama", ("{\"" + key + "\": " + scaling + "}").str());
    EXPECT_VALUE(config);
    EXPECT_EQ(config->rope.kind, RopeConfig::Kind::Llama3);
    EXPECT_EQ(config->rope.factor, 8);
    EXPECT_EQ(config->rope.lowFreqFactor, 1);
    EXPECT_EQ(config->rope.highFreqFactor, 4);
    EXPECT_EQ(config->rope.originalMaxPositions, 8192);
    EXPECT_EQ(config->rope.cosSinFactor(), 1);
  }
}

TEST(ModelConfig, YarnScaling) {
  const auto rope = [](StringRef members) {
    Expected<ModelConfig> config = parseWith(
        "qwen3",
        ("{\"rope_scaling\": {\"type\": \"yarn\"" + members + "}}").str());
    EXPECT_EQ(config ? "" : toString(config.takeError()), "");
    return config ? config->rope : RopeConfig();
  };
  // No factor: the context over the original one.
  RopeConfig plain = rope(", \"original_max_position_embeddings\": 16");
  EXPECT_EQ(plain.kind, RopeConfig::Kind::Yarn);
  EXPECT_EQ(plain.factor, 4);
  EXPECT_EQ(plain.betaFast, 32);
  EXPECT_EQ(plain.betaSlow, 1);
  EXPECT_NEAR(plain.cosSinFactor(), 0.1 * std::log(4.0) + 1, 1e-15);
  // No original context: the context itself.
  EXPECT_EQ(rope(", \"factor\": 4").originalMaxPositions, 64);

  RopeConfig r1 = rope(", \"factor\": 4, \"attn_factor\": 0.8782488562869419");
  EXPECT_NEAR(r1.cosSinFactor(), 1, 1e-15);
  EXPECT_NEAR(r1.cosSinFactor(/*honourAttnFactor=*/false),
              0.1 * std::log(4.0) + 1, 1e-15);
  EXPECT_EQ(rope(", \"factor\": 4, \"attention_factor\": 0.9").cosSinFactor(),
            0.9);
  EXPECT_EQ(rope(", \"factor\": 40, \"mscale\": 1.0, \"mscale_all_dim\": 1.0")
                .cosSinFactor(),
            1);
  EXPECT_NEAR(rope(", \"factor\": 40, \"mscale\": 0.5, \"mscale_all_dim\": 0")
                  .cosSinFactor(),
              0.1 * std::log(40.0) + 1, 1e-15);
}

TEST(ModelConfig, Generation) {
  Expected<GenerationConfig> config = generationConfigFromJson(
      cantFail(parseJson("{\"bos_token_id\": 5, \"eos_token_id\": [6, 7], "
                         "\"do_sample\": true, \"temperature\": 0.6, "
                         "\"top_p\": 0.95, \"top_k\": 0}",
                         "x")),
      "x", 11);
  EXPECT_VALUE(config);
  EXPECT_TRUE(config->doSample);
  EXPECT_EQ(config->temperature, 0.6);
  EXPECT_EQ(config->topP, 0.95);
  EXPECT_EQ(config->topK, std::nullopt);
  EXPECT_EQ(config->bosId, 5);
  EXPECT_EQ(ArrayRef(config->eosIds), ArrayRef<int64_t>({6, 7}));
}

TensorRef tensorNamed(StringRef name, ArrayRef<int64_t> shape) {
  TensorRef tensor;
  tensor.name = name.str();
  tensor.type = TensorType::F32;
  tensor.shape.assign(shape.begin(), shape.end());
  return tensor;
}

TEST(ModelConfig, Gguf) {
  const std::string bytes = smallGguf("llama").build();
  Expected<GgufFile> file = GgufFile::parse(arrayRefFromStringRef(bytes), "x");
  EXPECT_VALUE(file);
  const TensorRef tensors[] = {
      tensorNamed("model.embed_tokens.weight", {11, 8}),
      tensorNamed("model.layers.0.self_attn.q_proj.bias", {8})};
  Expected<ModelConfig> config = modelConfigFromGguf(*file, tensors);
  EXPECT_VALUE(config);
  EXPECT_EQ(config->modelType, "llama");
  EXPECT_EQ(config->hiddenSize, 8);
  EXPECT_EQ(config->layers, 1);
  EXPECT_EQ(config->heads, 2);
  EXPECT_EQ(config->kvHeads, 1);
  EXPECT_EQ(config->headDim, 4);
  EXPECT_EQ(config->vocabSize, 11);
  EXPECT_TRUE(config->tieWordEmbeddings);
  EXPECT_TRUE(config->attentionBias);
  EXPECT_FALSE(config->attentionOutputBias);
  EXPECT_EQ(config->rope.theta, 500000);
  EXPECT_EQ(config->bosId, 6);
  EXPECT_EQ(ArrayRef(config->eosIds), ArrayRef<int64_t>({7}));
  // Without tensors, the vocabulary is all there is.
  Expected<ModelConfig> bare = modelConfigFromGguf(*file, {});
  EXPECT_VALUE(bare);
  EXPECT_EQ(bare->vocabSize, 8);
}

TEST(ModelConfig, GgufYarn) {
  const std::string bytes =
      smallGguf("qwen3")
          .text("qwen3.rope.scaling.type", "yarn")
          .f32("qwen3.rope.scaling.factor", 4)
          .u32("qwen3.rope.scaling.original_context_length", 16)
          .f32("qwen3.rope.scaling.attn_factor", 0.5)
          .u32("qwen3.attention.key_length", 6)
          .u32("qwen3.attention.value_length", 6)
          .build();
  Expected<GgufFile> file = GgufFile::parse(arrayRefFromStringRef(bytes), "x");
  EXPECT_VALUE(file);
  Expected<ModelConfig> config = modelConfigFromGguf(*file, {});
  EXPECT_VALUE(config);
  EXPECT_EQ(config->headDim, 6);
  EXPECT_TRUE(config->qkNorm);
  EXPECT_EQ(config->rope.kind, RopeConfig::Kind::Yarn);
  EXPECT_EQ(config->rope.originalMaxPositions, 16);
  EXPECT_NEAR(config->rope.cosSinFactor(), 0.5 * (0.1 * std::log(4.0) + 1),
              1e-15);
}

TEST(ModelConfig, PermutedRows) {
  ModelConfig config;
  config.modelType = "llama";
  config.heads = 6;
  config.kvHeads = 2;
  const StringRef names[] = {"model.layers.0.self_attn.q_proj.weight",
                             "model.layers.0.self_attn.q_proj.bias",
                             "model.layers.0.self_attn.k_proj.weight",
                             "model.layers.0.self_attn.v_proj.weight"};
  const unsigned heads[] = {6, 6, 2, 0};
  std::vector<TensorRef> tensors;
  for (StringRef name : names)
    tensors.push_back(tensorNamed(name, {24, 24}));
  markPermutedRows(config, tensors);
  for (unsigned i = 0; i < 4; ++i)
    EXPECT_EQ(tensors[i].permutedHeads, heads[i]);
  config.modelType = "qwen2";
  tensors[0].permutedHeads = 0;
  markPermutedRows(config, MutableArrayRef(tensors).take_front());
  EXPECT_EQ(tensors[0].permutedHeads, 0u);
}

} // namespace
} // namespace sputnik::testing
