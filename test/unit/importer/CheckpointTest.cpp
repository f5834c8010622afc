//===- CheckpointTest.cpp - Opening whole checkpoints ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CheckpointFolder.h"
#include "Failure.h"

#include "importer/Checkpoint.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;

namespace sputnik::testing {
namespace {

TEST(Checkpoint, SingleFile) {
  for (StringRef modelType : {"llama", "qwen2", "qwen3"}) {
    CheckpointFolder folder;
    folder.writeSingle(modelType);
    Expected<Checkpoint> checkpoint = Checkpoint::open(folder.path());
    EXPECT_VALUE(checkpoint);
    EXPECT_EQ(checkpoint->config().modelType, modelType);
    ASSERT_EQ(checkpoint->files().size(), 1u);
    EXPECT_EQ(checkpoint->files()[0].path(), folder.path("model.safetensors"));
    EXPECT_EQ(checkpoint->tensors().size(), smallTensors(modelType).size());
    EXPECT_FALSE(checkpoint->isGguf());
    Expected<const TensorRef *> tensor =
        checkpoint->tensor("model.layers.1.mlp.down_proj.weight", {8, 12});
    EXPECT_VALUE(tensor);
    EXPECT_EQ(checkpoint->data(**tensor).size(), 8u * 12 * 2);
    EXPECT_EQ((*tensor)->permutedHeads, 0u);
    EXPECT_EQ(checkpoint->find("absent"), nullptr);
  }
}

TEST(Checkpoint, Shards) {
  CheckpointFolder folder;
  folder.writeSharded();
  Expected<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  EXPECT_VALUE(checkpoint);
  EXPECT_EQ(checkpoint->files().size(), 2u);
  EXPECT_EQ(checkpoint->tensors().size(), smallTensors("llama").size());
  EXPECT_EQ(checkpoint->find("unnamed"), nullptr);
  EXPECT_EQ(checkpoint->find("model.embed_tokens.weight")->file, 0u);
  EXPECT_EQ(checkpoint->find("lm_head.weight")->file, 1u);
  for (const TensorRef &tensor : checkpoint->tensors())
    EXPECT_EQ(checkpoint->data(tensor).size(), tensor.bytes);
}

TEST(Checkpoint, SingleFileBeforeShards) {
  CheckpointFolder folder;
  folder.writeSingle();
  folder.write("model.safetensors.index.json", "broken");
  EXPECT_VALUE(Checkpoint::open(folder.path()));
}

TEST(Checkpoint, TextFiles) {
  CheckpointFolder folder;
  folder.writeSingle();
  folder.write("tokenizer.json", "{}");
  folder.write("generation_config.json",
               "{\"bos_token_id\": 9, \"eos_token_id\": 10, "
               "\"temperature\": 0.6}");
  Expected<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  EXPECT_VALUE(checkpoint);
  EXPECT_EQ(checkpoint->tokenizerFiles().tokenizerJson,
            folder.path("tokenizer.json"));
  EXPECT_EQ(checkpoint->tokenizerFiles().tokenizerConfigJson, "");
  EXPECT_EQ(checkpoint->generation().temperature, 0.6);
  EXPECT_EQ(checkpoint->config().bosId, 9);
  EXPECT_EQ(ArrayRef(checkpoint->config().eosIds), ArrayRef<int64_t>({10}));
}

TEST(Checkpoint, ConfigOnly) {
  CheckpointFolder folder;
  folder.write("config.json", smallConfig("qwen2"));
  Expected<Checkpoint> checkpoint = Checkpoint::openConfigOnly(folder.path());
  EXPECT_VALUE(checkpoint);
  EXPECT_EQ(checkpoint->config().hiddenSize, 8);
  EXPECT_TRUE(checkpoint->tensors().empty());
  expectFailure(checkpoint->tensor("model.norm.weight", {8}), folder.path(),
                "has no tensor 'model.norm.weight', expected [8]");
}

TEST(Checkpoint, TensorChecks) {
  CheckpointFolder folder;
  folder.write("config.json", smallConfig("llama"));
  folder.write(
      "model.safetensors",
      safeTensorsOfZeros({{"w", "F32", {2, 3}, 24}, {"i", "I32", {2}, 8}}));
  Expected<Checkpoint> checkpoint = Checkpoint::open(folder.path());
  EXPECT_VALUE(checkpoint);
  const std::string file = folder.path("model.safetensors");
  expectFailure(checkpoint->tensor("w", {3, 2}), file,
                "tensor 'w' has the shape [2, 3], expected [3, 2]");
  expectFailure(checkpoint->tensor("i", {2}), file,
                "tensor 'i' has the type I32, expected");
}

TEST(Checkpoint, Gguf) {
  CheckpointFolder folder;
  folder.write("m.gguf", smallGguf("llama").build());
  Expected<Checkpoint> checkpoint = Checkpoint::open(folder.path("m.gguf"));
  EXPECT_VALUE(checkpoint);
  EXPECT_TRUE(checkpoint->isGguf());
  EXPECT_EQ(checkpoint->config().vocabSize, 11);
  EXPECT_FALSE(checkpoint->config().tieWordEmbeddings);
  EXPECT_EQ(checkpoint->config().rope.divisors, (std::vector<float>{1, 8}));
  EXPECT_EQ(checkpoint->ggufTokenizer().tokens[3], "ab");
  Expected<const TensorRef *> q =
      checkpoint->tensor("model.layers.0.self_attn.q_proj.weight", {8, 8});
  EXPECT_VALUE(q);
  EXPECT_EQ((*q)->storedName, "blk.0.attn_q.weight");
  EXPECT_EQ((*q)->permutedHeads, 2u);
  Expected<const TensorRef *> k =
      checkpoint->tensor("model.layers.0.self_attn.k_proj.weight", {4, 8});
  EXPECT_VALUE(k);
  EXPECT_EQ((*k)->permutedHeads, 1u);
  expectFailure(
      checkpoint->tensor("model.layers.0.self_attn.k_proj.weight", {4, 4}),
      folder.path("m.gguf"),
      "tensor 'model.layers.0.self_attn.k_proj.weight' (stored as "
      "'blk.0.attn_k.weight') has the shape [4, 8], expected [4, 4]");
}

TEST(Checkpoint, GgufWithoutTokenizer) {
  CheckpointFolder folder;
  folder.write("m.gguf", smallGguf("qwen2")
                             .drop("tokenizer.ggml.tokens")
                             .drop("tokenizer.ggml.token_type")
                             .build());
  Expected<Checkpoint> checkpoint = Checkpoint::open(folder.path("m.gguf"));
  EXPECT_VALUE(checkpoint);
  EXPECT_TRUE(checkpoint->ggufTokenizer().tokens.empty());
}

TEST(Checkpoint, SplitGguf) {
  CheckpointFolder folder;
  folder.write("m-00001-of-00002.gguf",
               smallGguf("llama")
                   .u16("split.no", 0)
                   .u16("split.count", 2)
                   .raw("split.tensors.count", GgufValue::I32, u32Bytes(14))
                   .build());
  folder.write("m-00002-of-00002.gguf",
               GgufWriter()
                   .u16("split.no", 1)
                   .u16("split.count", 2)
                   .tensor("extra", {4}, 0, std::string(16, 'e'))
                   .build());
  Expected<Checkpoint> checkpoint =
      Checkpoint::open(folder.path("m-00001-of-00002.gguf"));
  EXPECT_VALUE(checkpoint);
  EXPECT_EQ(checkpoint->files().size(), 2u);
  const TensorRef *extra = checkpoint->find("extra");
  ASSERT_NE(extra, nullptr);
  EXPECT_EQ(extra->file, 1u);
  EXPECT_EQ(checkpoint->data(*extra)[0], 'e');
}

} // namespace
} // namespace sputnik::testing
