//===- BrokenConfigs.cpp - Configurations that must be refused ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Failure.h"
#include "FileWriters.h"

#include "importer/Gguf.h"
#include "importer/Json.h"
#include "importer/ModelConfig.h"

#include "llvm/ADT/StringExtras.h"

#include <functional>

using namespace llvm;

namespace sputnik::testing {
namespace {

/// smallConfig of a llama with `key` replaced by `value`, or without `key` if
/// the value is empty.
json::Value configWith(StringRef key, StringRef value) {
  json::Value config = cantFail(parseJson(smallConfig("llama"), "small"));
  config.getAsObject()->erase(key);
  if (!value.empty())
    config.getAsObject()->try_emplace(key, cantFail(parseJson(value, "value")));
  return config;
}

struct Broken {
  const char *key;
  const char *value;
  const char *expected;
};

const Broken cases[] = {
    {"model_type", "", "key 'model_type' is missing, expected a string"},
    {"model_type", "3", "key 'model_type' is 3, expected a string"},
    {"model_type", "\"gpt2\"",
     "key 'model_type' is 'gpt2', expected one of llama, qwen2, qwen3"},
    {"architectures", "[\"LlamaForSequenceClassification\"]",
     "'LlamaForSequenceClassification', expected a name that ends in"},
    {"hidden_size", "",
     "key 'hidden_size' is missing, expected a whole number from 1 to "
     "16777216"},
    {"hidden_size", "null", "key 'hidden_size' is missing"},
    {"hidden_size", "0", "key 'hidden_size' is 0, expected a whole number"},
    {"hidden_size", "-8", "key 'hidden_size' is -8, expected"},
    {"hidden_size", "8.5", "key 'hidden_size' is 8.5"},
    {"hidden_size", "16777217", "key 'hidden_size' is 16777217, expected"},
    {"hidden_size", "1e300", "key 'hidden_size' is 1"},
    {"hidden_size", "1e999", "key 'hidden_size' is "},
    {"hidden_size", "18446744073709551624", "key 'hidden_size' is "},
    {"hidden_size", "\"8\"", "key 'hidden_size' is '8', expected"},
    {"hidden_size", "[8]", "key 'hidden_size' is an array"},
    {"hidden_size", "true", "key 'hidden_size' is true"},
    {"intermediate_size", "", "key 'intermediate_size' is missing"},
    {"num_hidden_layers", "1001",
     "key 'num_hidden_layers' is 1001, expected a whole number from 1 to "
     "1000"},
    {"num_attention_heads", "0", "key 'num_attention_heads' is 0"},
    {"num_attention_heads", "16777216",
     "key 'num_attention_heads' is 16777216, expected at most 4194304 heads"},
    {"num_key_value_heads", "3",
     "key 'num_key_value_heads' is 3, expected a divisor of the 2 attention"},
    {"num_key_value_heads", "4", "expected a divisor of the 2 attention"},
    {"head_dim", "3", "key 'head_dim' is 3, expected an even number"},
    {"head_dim", "-2", "key 'head_dim' is -2"},
    {"head_dim", "1000000", "key 'head_dim' is 1000000"},
    {"vocab_size", "", "key 'vocab_size' is missing"},
    {"vocab_size", "1e9", "key 'vocab_size' is 1000000000"},
    {"max_position_embeddings", "0", "key 'max_position_embeddings' is 0"},
    {"rms_norm_eps", "", "key 'rms_norm_eps' is missing, expected a number"},
    {"rms_norm_eps", "0",
     "key 'rms_norm_eps' is 0, expected a number above 0, at most 1"},
    {"rms_norm_eps", "-1e-6", "key 'rms_norm_eps' is -1e-06"},
    {"rms_norm_eps", "\"NaN\"", "key 'rms_norm_eps' is 'NaN'"},
    {"rope_theta", "0", "key 'rope_theta' is 0"},
    {"rope_theta", "1e999", "key 'rope_theta' is inf"},
    {"hidden_act", "\"gelu\"", "key 'hidden_act' is 'gelu', expected 'silu'"},
    {"use_sliding_window", "true",
     "key 'use_sliding_window' is true, expected false"},
    {"use_sliding_window", "1",
     "key 'use_sliding_window' is 1, expected true or false"},
    {"use_mrope", "true", "key 'use_mrope' is true, expected false"},
    {"mlp_bias", "true", "key 'mlp_bias' is true, expected false"},
    {"partial_rotary_factor", "0.5",
     "key 'partial_rotary_factor' is 0.5, expected 1"},
    {"quantization_config", "{\"quant_method\": \"awq\"}",
     "key 'quantization_config' is an object, expected none"},
    {"tie_word_embeddings", "\"no\"",
     "key 'tie_word_embeddings' is 'no', expected true or false"},
    {"layer_types", "[\"full_attention\", \"sliding_attention\"]",
     "has the element 'sliding_attention', expected 'full_attention'"},
    {"layer_types", "[\"full_attention\"]",
     "has 1 elements, expected one for each of the 2 layers"},
    {"layer_types", "\"full_attention\"", "expected an array"},
    {"bos_token_id", "11", "key 'bos_token_id' is 11"},
    {"bos_token_id", "-1", "key 'bos_token_id' is -1"},
    {"eos_token_id", "[1, 11]",
     "key 'eos_token_id' has an element that is no token id from 0 to 10"},
    {"eos_token_id", "[\"1\"]", "an element that is no token id"},
    {"eos_token_id", "\"</s>\"", "key 'eos_token_id' is '</s>'"},
    {"rope_scaling", "3", "key 'rope_scaling' is 3, expected an object"},
    {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2}",
     "key 'rope_scaling.type' is 'linear', expected one of default, llama3, "
     "yarn"},
    {"rope_scaling", "{\"rope_type\": 3}",
     "key 'rope_scaling.rope_type' is 3, expected a string"},
    {"rope_scaling",
     "{\"rope_type\": \"yarn\", \"type\": \"linear\", \"factor\": 2}",
     "key 'rope_scaling.type' is 'linear', expected 'yarn'"},
    {"rope_scaling", "{\"rope_type\": \"llama3\"}",
     "key 'rope_scaling.factor' is missing"},
    {"rope_scaling",
     "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
     "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 32}",
     "low_freq_factor is not less than its high_freq_factor"},
    {"rope_scaling",
     "{\"rope_type\": \"llama3\", \"factor\": 0.5, \"low_freq_factor\": 1, "
     "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 32}",
     "key 'rope_scaling.factor' is 0.5, expected at least 1"},
    {"rope_scaling",
     "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
     "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 0}",
     "key 'rope_scaling.original_max_position_embeddings' is 0"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": -4}",
     "key 'rope_scaling.factor' is -4"},
    {"rope_scaling",
     "{\"type\": \"yarn\", \"factor\": 4, \"beta_fast\": 1, \"beta_slow\": 32}",
     "beta_slow is not less than its beta_fast"},
    {"rope_scaling",
     "{\"type\": \"yarn\", \"factor\": 4, \"attention_factor\": 0}",
     "key 'rope_scaling.attention_factor' is 0"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 4, \"truncate\": false}",
     "key 'rope_scaling.truncate' is false, expected true"},
    {"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": -1}",
     "key 'rope_parameters.rope_theta' is -1"},
    {"rope_parameters", "{\"full_attention\": {\"rope_type\": \"default\"}}",
     "key 'rope_parameters.full_attention' is an object, expected one set"},
    {"rope_parameters",
     "{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.25}",
     "key 'rope_parameters.partial_rotary_factor' is 0.25, expected 1"},
};

TEST(BrokenConfigs, ConfigJson) {
  for (const Broken &broken : cases) {
    SCOPED_TRACE(std::string(broken.key) + ": " + broken.value);
    expectFailure(
        modelConfigFromJson(configWith(broken.key, broken.value), "x"), "x",
        broken.expected);
  }
}

TEST(BrokenConfigs, HeadDimFromTheHiddenSize) {
  json::Value config = configWith("head_dim", "");
  (*config.getAsObject())["num_attention_heads"] = 3;
  (*config.getAsObject())["num_key_value_heads"] = 3;
  expectFailure(modelConfigFromJson(config, "x"), "x",
                "key 'hidden_size' is 8, expected an even multiple");
}

TEST(BrokenConfigs, NotAnObject) {
  for (StringRef text : {"[]", "3", "null", "\"{}\""}) {
    const json::Value value = cantFail(parseJson(text, "x"));
    expectFailure(modelConfigFromJson(value, "x"), "x", "is not a JSON object");
    expectFailure(generationConfigFromJson(value, "x", 11), "x",
                  "is not a JSON object");
  }
}

TEST(BrokenConfigs, GenerationConfigJson) {
  const std::pair<const char *, const char *> broken[] = {
      {"{\"temperature\": -1}", "key 'temperature' is -1"},
      {"{\"temperature\": 1e999}", "key 'temperature' is inf"},
      {"{\"top_p\": 0}", "key 'top_p' is 0"},
      {"{\"top_p\": 1.5}", "key 'top_p' is 1.5"},
      {"{\"top_k\": -1}", "key 'top_k' is -1"},
      {"{\"do_sample\": \"yes\"}", "key 'do_sample' is 'yes'"},
      {"{\"bos_token_id\": 11}", "key 'bos_token_id' is 11"},
      {"{\"eos_token_id\": [11]}", "key 'eos_token_id' has an element"},
  };
  for (auto [text, expected] : broken)
    expectFailure(
        generationConfigFromJson(cantFail(parseJson(text, "x")), "x", 11), "x",
        expected);
}

struct BrokenGgufConfig {
  const char *name;
  std::function<void(GgufWriter &)> breakIt;
  const char *expected;
};

TEST(BrokenConfigs, GgufMetadata) {
  const auto replaced = [](StringRef key, uint32_t value) {
    return [key = key.str(), value](GgufWriter &w) {
      w.drop(key).u32(key, value);
    };
  };
  const BrokenGgufConfig broken[] = {
      {"no architecture", [](GgufWriter &w) { w.drop("general.architecture"); },
       "key 'general.architecture' is missing, expected one of llama, qwen2"},
      {"unknown architecture",
       [](GgufWriter &w) {
         w.drop("general.architecture").text("general.architecture", "mamba");
       },
       "key 'general.architecture' is 'mamba', expected one of"},
      {"architecture is a number",
       [](GgufWriter &w) {
         w.drop("general.architecture").u32("general.architecture", 3);
       },
       "key 'general.architecture' is 3, expected one of"},
      {"no layers", [](GgufWriter &w) { w.drop("llama.block_count"); },
       "key 'llama.block_count' is missing, expected a whole number"},
      {"2^32-1 layers", replaced("llama.block_count", ~0u),
       "key 'llama.block_count' is 4294967295, expected"},
      {"an array of head counts",
       [](GgufWriter &w) {
         w.drop("llama.attention.head_count")
             .i32s("llama.attention.head_count", {2, 2});
       },
       "key 'llama.attention.head_count' is an array of i32, expected"},
      {"no kv divisor", replaced("llama.attention.head_count_kv", 3),
       "key 'llama.attention.head_count_kv' is 3, expected a divisor of the 2"},
      {"odd heads",
       [](GgufWriter &w) { w.u32("llama.attention.key_length", 5); },
       "key 'llama.attention.key_length' is 5, expected an even number"},
      {"other value size",
       [](GgufWriter &w) { w.u32("llama.attention.value_length", 6); },
       "key 'llama.attention.value_length' is 6, expected 4, the size of a "
       "head"},
      {"partial rotation",
       [](GgufWriter &w) { w.u32("llama.rope.dimension_count", 2); },
       "key 'llama.rope.dimension_count' is 2, expected 4"},
      {"eps is NaN",
       [](GgufWriter &w) {
         w.drop("llama.attention.layer_norm_rms_epsilon")
             .raw("llama.attention.layer_norm_rms_epsilon", GgufValue::F32,
                  u32Bytes(0x7fc00000));
       },
       "key 'llama.attention.layer_norm_rms_epsilon' is nan, expected"},
      {"theta is infinite",
       [](GgufWriter &w) {
         w.drop("llama.rope.freq_base")
             .raw("llama.rope.freq_base", GgufValue::F32, u32Bytes(0x7f800000));
       },
       "key 'llama.rope.freq_base' is inf, expected"},
      {"linear scaling",
       [](GgufWriter &w) { w.text("llama.rope.scaling.type", "linear"); },
       "key 'llama.rope.scaling.type' is 'linear', expected 'none' or 'yarn'"},
      {"old linear scaling",
       [](GgufWriter &w) { w.f32("llama.rope.scale_linear", 2); },
       "key 'llama.rope.scale_linear' is 2, expected 1"},
      {"yarn without a factor",
       [](GgufWriter &w) { w.text("llama.rope.scaling.type", "yarn"); },
       "key 'llama.rope.scaling.factor' is missing"},
      {"BOS beyond the vocabulary", replaced("tokenizer.ggml.bos_token_id", 11),
       "key 'tokenizer.ggml.bos_token_id' is 11"},
      {"no vocabulary", [](GgufWriter &w) { w.drop("tokenizer.ggml.tokens"); },
       "has a vocabulary of 0 tokens"},
      {"a vocabulary of 2^31",
       [](GgufWriter &w) { w.u32("llama.vocab_size", 1u << 31); },
       "key 'llama.vocab_size' is 2147483648, expected"},
  };
  for (const BrokenGgufConfig &b : broken) {
    SCOPED_TRACE(b.name);
    GgufWriter writer = smallGguf("llama");
    b.breakIt(writer);
    const std::string bytes = writer.build();
    Expected<GgufFile> file =
        GgufFile::parse(arrayRefFromStringRef(bytes), "x");
    EXPECT_VALUE(file);
    expectFailure(modelConfigFromGguf(*file, {}), "x", b.expected);
  }
}

} // namespace
} // namespace sputnik::testing
