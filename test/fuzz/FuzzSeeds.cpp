//===- FuzzSeeds.cpp - Writes valid files for the fuzzers to change -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FileWriters.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cstring>
#include <tuple>

using namespace llvm;
using namespace sputnik::testing;

static std::string root;
static bool failed = false;

static void write(StringRef fuzzer, StringRef name, StringRef content) {
  SmallString<256> path(root);
  sys::path::append(path, fuzzer);
  std::error_code code = sys::fs::create_directories(path);
  sys::path::append(path, name);
  if (!code)
    raw_fd_ostream(path, code) << content;
  if (code) {
    errs() << path << ": " << code.message() << '\n';
    failed = true;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) {
    errs() << "usage: fuzz-seeds FOLDER\n";
    return 2;
  }
  root = argv[1];

  for (StringRef type : {"llama", "qwen2", "qwen3"}) {
    write("FuzzConfig", type, smallConfig(type));
    write("FuzzJson", type, smallConfig(type));
    write("FuzzGguf", type, smallGguf(type).build());
  }
  write("FuzzConfig", "deepseek_v3", smallDeepSeekConfig());
  write("FuzzJson", "deepseek_v3", smallDeepSeekConfig());
  for (auto [name, number, wrong] :
       {std::tuple("latent", "\"kv_lora_rank\": 4", "\"kv_lora_rank\": 0"),
        std::tuple("experts", "\"n_routed_experts\": 8",
                   "\"n_routed_experts\": 9"),
        std::tuple("blocks", "[128, 128]", "[128]")}) {
    std::string broken = smallDeepSeekConfig();
    broken.replace(broken.find(number), std::strlen(number), wrong);
    write("FuzzConfig", ("deepseek_v3_" + Twine(name)).str(), broken);
  }
  const std::string scaled =
      smallConfig("llama").substr(0, smallConfig("llama").size() - 1);
  write("FuzzConfig", "llama3",
        scaled + ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": "
                 "8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
                 "\"original_max_position_embeddings\": 32}}");
  write("FuzzConfig", "yarn",
        scaled + ", \"rope_parameters\": {\"type\": \"yarn\", \"factor\": 4, "
                 "\"attn_factor\": 0.9, \"mscale\": 1, \"mscale_all_dim\": 1, "
                 "\"rope_theta\": 1e6}, \"layer_types\": "
                 "[\"full_attention\", \"full_attention\"]}");
  write("FuzzConfig", "generation",
        "{\"do_sample\": true, \"temperature\": 0.6, \"top_p\": 0.95, "
        "\"top_k\": 20, \"eos_token_id\": [1, 2], \"bos_token_id\": 0}");
  write("FuzzJson", "escapes",
        "[\"\\u00e9\\ud83d\\ude00\\n\", -1.5e-3, null, {\"\": true}]");

  write("FuzzShardIndex", "two",
        "{\"metadata\": {\"total_size\": 3}, \"weight_map\": {\"a\": "
        "\"1.safetensors\", \"b\": \"2.safetensors\", \"c\": "
        "\"1.safetensors\"}}");

  write("FuzzSafeTensors", "two",
        safeTensorsOfZeros({{"a", "F32", {2, 3}, 24}, {"b", "BF16", {}, 2}}));
  write("FuzzSafeTensors", "empty", safeTensorsFile("{}      ", ""));
  write("FuzzSafeTensors", "model", safeTensorsOfZeros(smallTensors("qwen3")));

  write("FuzzGguf", "empty", GgufWriter().build());
  GgufWriter experts;
  experts.text("general.architecture", "deepseek2")
      .text("deepseek2.rope.scaling.type", "yarn")
      .boolean("deepseek2.expert_weights_norm", true)
      .f32("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f)
      .f32("deepseek2.rope.freq_base", 10000)
      .f32("deepseek2.rope.scaling.factor", 4)
      .f32("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f)
      .f32("deepseek2.expert_weights_scale", 2.5f);
  const std::pair<StringLiteral, uint32_t> numbers[] = {
      {"block_count", 2},
      {"context_length", 64},
      {"embedding_length", 8},
      {"feed_forward_length", 12},
      {"attention.head_count", 2},
      {"attention.head_count_kv", 1},
      {"attention.key_length", 6},
      {"attention.value_length", 4},
      {"attention.key_length_mla", 6},
      {"attention.value_length_mla", 4},
      {"attention.q_lora_rank", 6},
      {"attention.kv_lora_rank", 4},
      {"rope.dimension_count", 2},
      {"vocab_size", 10},
      {"leading_dense_block_count", 1},
      {"expert_count", 8},
      {"expert_used_count", 2},
      {"expert_shared_count", 1},
      {"expert_feed_forward_length", 6},
      {"expert_gating_func", 2},
      {"expert_group_count", 4},
      {"expert_group_used_count", 2},
      {"rope.scaling.original_context_length", 16}};
  for (auto [key, value] : numbers)
    experts.u32(("deepseek2." + key).str(), value);
  // Experts merged and one by one, heads whole and in halves.
  experts.tensor("blk.0.attn_kv_b.weight", {4, 16}, /*F32=*/0,
                 std::string(256, '\0'));
  experts.tensor("blk.1.attn_k_b.weight", {4, 4, 2}, 0, std::string(128, '\0'));
  experts.tensor("blk.1.ffn_gate.3.weight", {8, 6}, 0, std::string(192, '\0'));
  experts.tensor("blk.1.ffn_up_exps.weight", {8, 6, 8}, 0,
                 std::string(1536, '\0'));
  write("FuzzGguf", "deepseek2", experts.build());
  GgufWriter blocks;
  blocks.text("general.architecture", "qwen3").u32("general.alignment", 8);
  blocks.alignment = 8;
  const std::pair<uint32_t, unsigned> types[] = {
      {2, 18},  {3, 20},   {6, 22},   {7, 24},   {8, 34},   {20, 18},
      {10, 84}, {11, 110}, {12, 144}, {13, 176}, {14, 210}, {23, 136}};
  for (auto [type, bytes] : types)
    blocks.tensor("t" + std::to_string(type), {bytes > 40 ? 256u : 32u}, type,
                  std::string(bytes, 'q'));
  write("FuzzGguf", "blocks", blocks.build());
  write("FuzzGguf", "values",
        GgufWriter()
            .array("a", sputnik::GgufValue::Bool, 2, StringRef("\0\1", 2))
            .array("b", sputnik::GgufValue::I64, 1, u64Bytes(7))
            .raw("c", sputnik::GgufValue::F64, u64Bytes(0))
            .text("qwen3.rope.scaling.type", "yarn")
            .text("tokenizer.chat_template", "{{ messages }}")
            .u16("split.count", 2)
            .build());
  return failed;
}
