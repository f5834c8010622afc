//===- FileWriters.cpp - Small checkpoints made in memory -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FileWriters.h"

#include "llvm/ADT/StringExtras.h"

#include <bit>

using namespace llvm;

namespace sputnik::testing {

template <typename T> static std::string littleEndian(T value) {
  std::string bytes;
  for (unsigned i = 0; i < sizeof(T); ++i)
    bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string u16Bytes(uint16_t value) { return littleEndian(value); }
std::string u32Bytes(uint32_t value) { return littleEndian(value); }
std::string u64Bytes(uint64_t value) { return littleEndian(value); }
std::string f32Bytes(float value) {
  return littleEndian(std::bit_cast<uint32_t>(value));
}

std::string safeTensorsFile(StringRef header, StringRef data) {
  return u64Bytes(header.size()) + header.str() + data.str();
}

std::string safeTensorsOfZeros(ArrayRef<ShapedTensor> tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  uint64_t end = 0;
  for (const ShapedTensor &tensor : tensors) {
    header += ",\"" + tensor.name + "\":{\"dtype\":\"" + tensor.dtype +
              "\",\"shape\":[" +
              join(map_range(tensor.shape,
                             [](int64_t d) { return std::to_string(d); }),
                   ",") +
              "],\"data_offsets\":[" + std::to_string(end) + "," +
              std::to_string(end + tensor.bytes) + "]}";
    end += tensor.bytes;
  }
  header += "}";
  while (header.size() % 8)
    header += ' ';
  return safeTensorsFile(header, std::string(end, '\0'));
}

std::string GgufWriter::string(StringRef text) {
  return u64Bytes(text.size()) + text.str();
}

GgufWriter &GgufWriter::raw(StringRef key, uint32_t kind, StringRef value) {
  keys.emplace_back(key.str(), string(key) + u32Bytes(kind) + value.str());
  return *this;
}
GgufWriter &GgufWriter::u32(StringRef key, uint32_t value) {
  return raw(key, GgufValue::U32, u32Bytes(value));
}
GgufWriter &GgufWriter::u16(StringRef key, uint16_t value) {
  return raw(key, GgufValue::U16, u16Bytes(value));
}
GgufWriter &GgufWriter::f32(StringRef key, float value) {
  return raw(key, GgufValue::F32, f32Bytes(value));
}
GgufWriter &GgufWriter::boolean(StringRef key, bool value) {
  return raw(key, GgufValue::Bool,
             value ? StringRef("\1", 1) : StringRef("\0", 1));
}
GgufWriter &GgufWriter::text(StringRef key, StringRef value) {
  return raw(key, GgufValue::String, string(value));
}
GgufWriter &GgufWriter::array(StringRef key, uint32_t kind, uint64_t count,
                              StringRef elements) {
  return raw(key, GgufValue::Array,
             u32Bytes(kind) + u64Bytes(count) + elements.str());
}
GgufWriter &GgufWriter::strings(StringRef key, ArrayRef<std::string> values) {
  std::string elements;
  for (const std::string &value : values)
    elements += string(value);
  return array(key, GgufValue::String, values.size(), elements);
}
GgufWriter &GgufWriter::i32s(StringRef key, ArrayRef<int32_t> values) {
  std::string elements;
  for (int32_t value : values)
    elements += u32Bytes(static_cast<uint32_t>(value));
  return array(key, GgufValue::I32, values.size(), elements);
}
GgufWriter &GgufWriter::drop(StringRef key) {
  erase_if(keys, [&](const auto &entry) { return entry.first == key; });
  return *this;
}

GgufWriter &GgufWriter::tensor(StringRef name, ArrayRef<uint64_t> dims,
                               uint32_t type, StringRef data,
                               std::optional<uint64_t> offset) {
  while (body.size() % alignment)
    body += '\0';
  std::string info = string(name) + u32Bytes(dims.size());
  for (uint64_t dim : dims)
    info += u64Bytes(dim);
  tensors.push_back(info + u32Bytes(type) +
                    u64Bytes(offset.value_or(body.size())));
  body += data;
  return *this;
}

GgufWriter &GgufWriter::ropeFreqs(float last) {
  const std::string before = f32Bytes(1) + f32Bytes(8);
  body.replace(body.find(before), before.size(), f32Bytes(1) + f32Bytes(last));
  return *this;
}

std::string GgufWriter::build() const {
  std::string file = magic + u32Bytes(version) +
                     u64Bytes(claimedTensors.value_or(tensors.size())) +
                     u64Bytes(claimedKeys.value_or(keys.size()));
  for (const auto &entry : keys)
    file += entry.second;
  for (const std::string &tensor : tensors)
    file += tensor;
  if (!tensors.empty()) {
    while (file.size() % alignment)
      file += '\0';
    file += body;
  }
  file.resize(file.size() - dropTail);
  return file;
}

std::string smallConfig(StringRef modelType) {
  return ("{\"architectures\": [\"SmallForCausalLM\"], \"model_type\": \"" +
          modelType +
          "\", \"hidden_size\": 8, \"intermediate_size\": 12, "
          "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
          "\"num_key_value_heads\": 1, \"head_dim\": 4, \"vocab_size\": 11, "
          "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-06, "
          "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\", "
          "\"tie_word_embeddings\": false, \"bos_token_id\": 1, "
          "\"eos_token_id\": [2, 3]}")
      .str();
}

std::string smallDeepSeekConfig() {
  return R"({
    "model_type": "deepseek_v3", "hidden_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 10,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "q_lora_rank": 6,
    "kv_lora_rank": 4, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2,
    "v_head_dim": 4, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "n_group": 4, "topk_group": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 6, "first_k_dense_replace": 1,
    "routed_scaling_factor": 2.5,
    "quantization_config": {"quant_method": "fp8",
                            "weight_block_size": [128, 128]}
  })";
}

std::vector<ShapedTensor> smallTensors(StringRef modelType) {
  std::vector<ShapedTensor> tensors;
  const auto add = [&](const Twine &name, std::vector<int64_t> shape) {
    uint64_t bytes = 2;
    for (int64_t dim : shape)
      bytes *= dim;
    tensors.push_back({name.str(), "BF16", std::move(shape), bytes});
  };
  add("model.embed_tokens.weight", {11, 8});
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    add(prefix + "input_layernorm.weight", {8});
    for (StringRef part : {"q", "k", "v"}) {
      const int64_t rows = part == "q" ? 8 : 4;
      add(prefix + "self_attn." + part + "_proj.weight", {rows, 8});
      if (modelType == "qwen2")
        add(prefix + "self_attn." + part + "_proj.bias", {rows});
      if (modelType == "qwen3" && part != "v")
        add(prefix + "self_attn." + part + "_norm.weight", {4});
    }
    add(prefix + "self_attn.o_proj.weight", {8, 8});
    add(prefix + "post_attention_layernorm.weight", {8});
    add(prefix + "mlp.gate_proj.weight", {12, 8});
    add(prefix + "mlp.up_proj.weight", {12, 8});
    add(prefix + "mlp.down_proj.weight", {8, 12});
  }
  add("model.norm.weight", {8});
  add("lm_head.weight", {11, 8});
  return tensors;
}

GgufWriter smallGguf(StringRef architecture) {
  GgufWriter writer;
  const auto key = [&](StringRef name) {
    return (architecture + "." + name).str();
  };
  writer.text("general.architecture", architecture)
      .text("general.name", "small")
      .u32(key("block_count"), 1)
      .u32(key("context_length"), 64)
      .u32(key("embedding_length"), 8)
      .u32(key("feed_forward_length"), 12)
      .u32(key("attention.head_count"), 2)
      .u32(key("attention.head_count_kv"), 1)
      .f32(key("attention.layer_norm_rms_epsilon"), 1e-6f)
      .f32(key("rope.freq_base"), 500000.0f)
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", "llama-bpe")
      .strings("tokenizer.ggml.tokens",
               {"a", "b", "c", "ab", "bc", "abc", "<s>", "</s>"})
      .i32s("tokenizer.ggml.token_type", {1, 1, 1, 1, 1, 1, 3, 3})
      .strings("tokenizer.ggml.merges", {"a b", "b c", "ab c"})
      .u32("tokenizer.ggml.bos_token_id", 6)
      .u32("tokenizer.ggml.eos_token_id", 7)
      .boolean("tokenizer.ggml.add_bos_token", true);
  const auto add = [&](StringRef name, ArrayRef<uint64_t> dims) {
    uint64_t bytes = 4;
    for (uint64_t dim : dims)
      bytes *= dim;
    writer.tensor(name, dims, /*F32=*/0, std::string(bytes, '\0'));
  };
  add("token_embd.weight", {8, 11});
  add("output_norm.weight", {8});
  add("output.weight", {8, 11});
  writer.tensor("rope_freqs.weight", {2}, /*F32=*/0, f32Bytes(1) + f32Bytes(8));
  add("blk.0.attn_norm.weight", {8});
  add("blk.0.attn_q.weight", {8, 8});
  add("blk.0.attn_k.weight", {8, 4});
  add("blk.0.attn_v.weight", {8, 4});
  add("blk.0.attn_output.weight", {8, 8});
  add("blk.0.ffn_norm.weight", {8});
  add("blk.0.ffn_gate.weight", {8, 12});
  add("blk.0.ffn_up.weight", {8, 12});
  add("blk.0.ffn_down.weight", {12, 8});
  return writer;
}

} // namespace sputnik::testing
