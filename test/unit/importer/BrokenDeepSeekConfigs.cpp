//===- BrokenDeepSeekConfigs.cpp - Latents and experts that do not fit ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Failure.h"
#include "FileWriters.h"

#include "importer/Json.h"
#include "importer/ModelConfig.h"

using namespace llvm;

namespace sputnik::testing {
namespace {

Expected<ModelConfig> configWith(StringRef key, StringRef value) {
  json::Value config = cantFail(parseJson(smallDeepSeekConfig(), "good"));
  config.getAsObject()->erase(key);
  if (!value.empty())
    config.getAsObject()->try_emplace(key, cantFail(parseJson(value, "value")));
  return modelConfigFromJson(config, "x");
}

TEST(DeepSeekConfigs, Good) {
  Expected<ModelConfig> config = configWith("unknown", "1");
  EXPECT_VALUE(config);
  EXPECT_EQ(config->headDim, 2);
  EXPECT_EQ(config->latent->rank, 4);
  EXPECT_TRUE(config->latent->interleaved);
  EXPECT_EQ(config->experts->count, 8);
  EXPECT_EQ(config->experts->scale, 2.5);
  EXPECT_EQ(config->scaleBlock[1], 128);
}

TEST(DeepSeekConfigs, WithoutOneMatrixForQueries) {
  Expected<ModelConfig> config = configWith("q_lora_rank", "null");
  EXPECT_VALUE(config);
  EXPECT_EQ(config->latent->queryRank, 0);
}

TEST(DeepSeekConfigs, AreRefused) {
  const struct {
    const char *key, *value, *expected;
  } cases[] = {
      {"q_lora_rank", "0", "key 'q_lora_rank' is 0, expected a whole number"},
      {"kv_lora_rank", "0", "key 'kv_lora_rank' is 0, expected a whole number"},
      {"kv_lora_rank", "", "key 'kv_lora_rank' is missing"},
      {"kv_lora_rank", "1000000", "key 'kv_lora_rank' is 1000000, expected"},
      {"qk_nope_head_dim", "0", "key 'qk_nope_head_dim' is 0"},
      {"qk_rope_head_dim", "0", "key 'qk_rope_head_dim' is 0"},
      {"qk_rope_head_dim", "3", "expected an even number"},
      {"head_dim", "4", "absent, or 2 as qk_rope_head_dim is"},
      {"v_head_dim", "-1", "key 'v_head_dim' is -1"},
      {"num_attention_heads", "8388608", "key 'num_attention_heads' is"},
      {"n_routed_experts", "9",
       "key 'n_routed_experts' is 9, expected a multiple of the 4 groups, of "
       "two experts or more"},
      {"n_routed_experts", "4", "of two experts or more"},
      {"n_routed_experts", "0", "key 'n_routed_experts' is 0"},
      {"n_routed_experts", "65536", "key 'n_routed_experts' is 65536"},
      {"n_group", "3", "key 'n_routed_experts' is 8, expected a multiple of "
                       "the 3 groups"},
      {"topk_group", "5", "key 'topk_group' is 5, expected at most the 4"},
      {"num_experts_per_tok", "5",
       "key 'num_experts_per_tok' is 5, expected at most the 4 experts of the "
       "groups that are kept"},
      {"n_shared_experts", "0", "key 'n_shared_experts' is 0"},
      {"moe_intermediate_size", "16777216",
       "key 'moe_intermediate_size' is 16777216, expected at most 2097152 for "
       "8 experts"},
      {"first_k_dense_replace", "4",
       "key 'first_k_dense_replace' is 4, expected at most the 3 layers"},
      {"moe_layer_freq", "2", "key 'moe_layer_freq' is 2, expected 1"},
      {"scoring_func", "\"softmax\"", "key 'scoring_func' is 'softmax'"},
      {"topk_method", "\"greedy\"", "key 'topk_method' is 'greedy'"},
      {"routed_scaling_factor", "0", "key 'routed_scaling_factor' is 0"},
      {"attention_bias", "true", "key 'attention_bias' is true"},
      {"quantization_config", "7", "key 'quantization_config' is 7"},
      {"quantization_config", "{\"quant_method\": \"awq\"}",
       "key 'quantization_config.quant_method' is 'awq', expected 'fp8'"},
      {"quantization_config",
       "{\"quant_method\": \"fp8\", \"weight_block_size\": [128]}",
       "key 'quantization_config.weight_block_size' is an array, expected two"},
      {"quantization_config",
       "{\"quant_method\": \"fp8\", \"weight_block_size\": [0, 128]}",
       "expected two whole numbers"},
      {"quantization_config",
       "{\"quant_method\": \"fp8\", \"fmt\": \"e5m2\"}", "expected 'e4m3'"},
  };
  for (const auto &c : cases) {
    SCOPED_TRACE(std::string(c.key) + ": " + c.value);
    expectFailure(configWith(c.key, c.value), "x", c.expected);
  }
}

} // namespace
} // namespace sputnik::testing
