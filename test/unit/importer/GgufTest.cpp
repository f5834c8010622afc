//===- GgufTest.cpp - Valid GGUF headers ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Failure.h"
#include "FileWriters.h"

#include "importer/Gguf.h"
#include "importer/GgufNames.h"
#include "importer/GgufTokenizer.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace sputnik::testing {
namespace {

TEST(Gguf, PlacesTensors) {
  for (uint32_t version : {2, 3}) {
    GgufWriter writer;
    writer.version = version;
    writer.text("general.architecture", "llama")
        .tensor("a", {32, 3}, /*Q8_0=*/8, std::string(3 * 34, 'a'))
        .tensor("b", {5, 1, 2}, /*F16=*/1, std::string(20, 'b'));
    const std::string bytes = writer.build();
    Expected<GgufFile> file =
        GgufFile::parse(arrayRefFromStringRef(bytes), "x", 4);
    EXPECT_VALUE(file);
    ASSERT_EQ(file->tensors().size(), 2u);
    const TensorRef &a = file->tensors()[0], &b = file->tensors()[1];
    EXPECT_EQ(a.type, TensorType::Q8_0);
    EXPECT_EQ(ArrayRef(a.shape), ArrayRef<int64_t>({3, 32}));
    EXPECT_EQ(a.offset % 32, 0u);
    EXPECT_EQ(bytes.substr(a.offset, a.bytes), std::string(3 * 34, 'a'));
    EXPECT_EQ(ArrayRef(b.shape), ArrayRef<int64_t>({2, 1, 5}));
    EXPECT_EQ(bytes.substr(b.offset, b.bytes), std::string(20, 'b'));
    EXPECT_EQ(b.file, 4u);
  }
}

TEST(Gguf, OwnAlignment) {
  GgufWriter writer;
  writer.alignment = 8;
  writer.u32("general.alignment", 8)
      .tensor("a", {3}, 0, std::string(12, 'a'))
      .tensor("b", {3}, 0, std::string(12, 'b'));
  const std::string bytes = writer.build();
  Expected<GgufFile> file = GgufFile::parse(arrayRefFromStringRef(bytes), "x");
  EXPECT_VALUE(file);
  EXPECT_EQ(file->tensors()[1].offset - file->tensors()[0].offset, 16u);
}

TEST(Gguf, Values) {
  GgufWriter writer;
  writer.raw("u8", GgufValue::U8, "\xff")
      .raw("i8", GgufValue::I8, "\xff")
      .u16("u16", 65535)
      .raw("i16", GgufValue::I16, u16Bytes(65535))
      .u32("u32", 4294967295u)
      .raw("i32", GgufValue::I32, u32Bytes(4294967295u))
      .raw("u64", GgufValue::U64, u64Bytes(1))
      .raw("big", GgufValue::U64, u64Bytes(~uint64_t(0)))
      .raw("i64", GgufValue::I64, u64Bytes(~uint64_t(0)))
      .f32("f32", 0.5f)
      .boolean("yes", true)
      .text("empty", "")
      .strings("names", {"", "ab", "｜"})
      .array("bytes", GgufValue::U8, 2, "\x01\xff")
      .array("none", GgufValue::String, 0, "")
      .array("wide", GgufValue::U32, 1, u32Bytes(4294967295u));
  const std::string bytes = writer.build();
  Expected<GgufFile> file = GgufFile::parse(arrayRefFromStringRef(bytes), "x");
  EXPECT_VALUE(file);
  EXPECT_EQ(file->find("u8")->asInteger(), 255);
  EXPECT_EQ(file->find("i8")->asInteger(), -1);
  EXPECT_EQ(file->find("u16")->asInteger(), 65535);
  EXPECT_EQ(file->find("i16")->asInteger(), -1);
  EXPECT_EQ(file->find("u32")->asInteger(), 4294967295);
  EXPECT_EQ(file->find("i32")->asInteger(), -1);
  EXPECT_EQ(file->find("u64")->asInteger(), 1);
  EXPECT_EQ(file->find("big")->asInteger(), std::nullopt);
  EXPECT_EQ(file->find("i64")->asInteger(), -1);
  EXPECT_EQ(file->find("f32")->asInteger(), std::nullopt);
  EXPECT_EQ(file->find("f32")->asNumber(), 0.5);
  EXPECT_EQ(file->find("u16")->asNumber(), 65535);
  EXPECT_EQ(file->find("yes")->asBool(), true);
  EXPECT_EQ(file->find("yes")->asInteger(), std::nullopt);
  EXPECT_EQ(file->find("empty")->asString(), "");
  EXPECT_EQ(file->find("empty")->asStrings(), std::nullopt);
  EXPECT_EQ(*file->find("names")->asStrings(),
            (std::vector<StringRef>{"", "ab", "｜"}));
  EXPECT_EQ(*file->find("bytes")->asIntegers(), (std::vector<int32_t>{1, 255}));
  EXPECT_EQ(file->find("none")->asStrings()->size(), 0u);
  EXPECT_EQ(file->find("wide")->asIntegers(), std::nullopt);
  EXPECT_EQ(file->find("names")->asIntegers(), std::nullopt);
  EXPECT_EQ(file->find("absent"), nullptr);
}

TEST(Gguf, Tokenizer) {
  const std::string bytes =
      smallGguf("llama").text("tokenizer.chat_template", "{{ x }}").build();
  Expected<GgufFile> file = GgufFile::parse(arrayRefFromStringRef(bytes), "x");
  EXPECT_VALUE(file);
  Expected<GgufTokenizer> tokenizer = readGgufTokenizer(*file);
  EXPECT_VALUE(tokenizer);
  EXPECT_EQ(tokenizer->model, "gpt2");
  EXPECT_EQ(tokenizer->pre, "llama-bpe");
  EXPECT_EQ(tokenizer->tokens.size(), 8u);
  EXPECT_EQ(tokenizer->tokens[5], "abc");
  EXPECT_EQ(tokenizer->types[7], 3);
  EXPECT_EQ(tokenizer->merges[2], "ab c");
  EXPECT_EQ(tokenizer->bos, 6);
  EXPECT_EQ(tokenizer->eos, 7);
  EXPECT_EQ(tokenizer->pad, std::nullopt);
  EXPECT_EQ(tokenizer->addBos, true);
  EXPECT_EQ(tokenizer->addEos, std::nullopt);
  EXPECT_EQ(tokenizer->chatTemplate, "{{ x }}");
}

TEST(Gguf, HuggingFaceNames) {
  const std::pair<const char *, const char *> names[] = {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"output_norm.weight", "model.norm.weight"},
      {"output.weight", "lm_head.weight"},
      {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
      {"blk.12.ffn_norm.weight",
       "model.layers.12.post_attention_layernorm.weight"},
      {"blk.3.attn_q.bias", "model.layers.3.self_attn.q_proj.bias"},
      {"blk.3.attn_k_norm.weight", "model.layers.3.self_attn.k_norm.weight"},
      {"blk.3.attn_output.weight", "model.layers.3.self_attn.o_proj.weight"},
      {"blk.3.ffn_down.weight", "model.layers.3.mlp.down_proj.weight"},
      {"blk.3.attn_kv_a_mqa.weight",
       "model.layers.3.self_attn.kv_a_proj_with_mqa.weight"},
      {"blk.3.exp_probs_b.bias",
       "model.layers.3.mlp.gate.e_score_correction_bias"},
      {"blk.61.nextn.eh_proj.weight", "model.layers.61.eh_proj.weight"},
      {"rope_freqs.weight", "rope_freqs.weight"},
      {"blk.x.attn_q.weight", "blk.x.attn_q.weight"},
      {"blk..attn_q.weight", "blk..attn_q.weight"},
      {"blk.1", "blk.1"},
      {"blk.1.attn_q.scale", "blk.1.attn_q.scale"},
      {"blk.1.unknown.weight", "blk.1.unknown.weight"},
  };
  for (auto [gguf, huggingFace] : names)
    EXPECT_EQ(huggingFaceName(gguf), huggingFace);
}

} // namespace
} // namespace sputnik::testing
