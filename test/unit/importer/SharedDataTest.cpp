//===- SharedDataTest.cpp - Real files, where they are at hand ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reads the reference data beside the repository, if there, and the goldens in
// it.
//
//===----------------------------------------------------------------------===//

#include "Failure.h"

#include "importer/Checkpoint.h"
#include "importer/Json.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cmath>
#include <cstdlib>

using namespace llvm;

namespace sputnik::testing {
namespace {

std::string sharedData(StringRef name) {
  const char *variable = std::getenv("SPUTNIK_SHARED_DATA");
  SmallString<256> path(variable ? variable
                                 : SPUTNIK_SOURCE_DIR "/../shared/data");
  sys::path::append(path, name);
  return path.str().str();
}

#define SKIP_UNLESS_PRESENT(path)                                              \
  if (!sys::fs::exists(path))                                                  \
  GTEST_SKIP() << (path) << " is not at hand"

/// The names in a folder that end so, sorted.
std::vector<std::string> filesIn(StringRef folder, StringRef suffix) {
  std::vector<std::string> files;
  std::error_code code;
  for (sys::fs::directory_iterator it(folder, code), end; it != end && !code;
       it.increment(code))
    if (StringRef(it->path()).ends_with(suffix))
      files.push_back(it->path());
  sort(files);
  return files;
}

json::Value readJson(StringRef path) {
  InputFile file = cantFail(InputFile::open(path));
  return cantFail(parseJson(file.text(), path));
}

TEST(SharedData, BlockFormats) {
  const std::string path = sharedData("golden/ggml_dequant_golden.json");
  SKIP_UNLESS_PRESENT(path);
  const json::Value golden = readJson(path);
  unsigned checked = 0;
  for (const json::Value &entry : *golden.getAsArray()) {
    const json::Object &block = *entry.getAsObject();
    const std::string wanted = block.getString("type")->upper();
    TensorType type = TensorType::F32;
    for (unsigned i = 0; i < numTensorTypes; ++i)
      if (name(static_cast<TensorType>(i)).upper() == wanted)
        type = static_cast<TensorType>(i);
    ASSERT_NE(type, TensorType::F32) << wanted;
    const std::string bytes = fromHex(*block.getString("hex"));
    const json::Array &expected = *block.getArray("values");
    ASSERT_EQ(bytes.size(), blockBytes(type));
    ASSERT_EQ(expected.size(), blockElements(type));
    std::vector<float> values(expected.size());
    dequantize(type, reinterpret_cast<const uint8_t *>(bytes.data()),
               values.data(), values.size());
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], static_cast<float>(*expected[i].getAsNumber()))
          << wanted << " element " << i;
    ++checked;
  }
  EXPECT_EQ(checked, 36u);
}

TEST(SharedData, F8E4M3) {
  const std::string path = sharedData("golden/fp8_e4m3fn_table.json");
  SKIP_UNLESS_PRESENT(path);
  const json::Value golden = readJson(path);
  const json::Array &table = *golden.getAsObject()->getArray("values");
  ASSERT_EQ(table.size(), 256u);
  for (unsigned i = 0; i < 256; ++i) {
    const uint8_t byte = i;
    float value;
    dequantize(TensorType::F8E4M3, &byte, &value, 1);
    if (std::optional<double> expected = table[i].getAsNumber()) {
      EXPECT_EQ(value, *expected) << i;
      EXPECT_EQ(std::signbit(value), i >= 128) << i;
    } else {
      EXPECT_TRUE(std::isnan(value)) << i;
    }
  }
}

TEST(SharedData, Configs) {
  const std::string folder = sharedData("configs");
  SKIP_UNLESS_PRESENT(folder);
  std::vector<std::string> files = filesIn(folder, ".config.json");
  EXPECT_EQ(files.size(), 8u);
  for (const std::string &file : files) {
    Expected<ModelConfig> config = modelConfigFromJson(readJson(file), file);
    EXPECT_VALUE(config);
    EXPECT_EQ(config->headDim, config->modelType == "deepseek_v3" ? 64 : 128);
    EXPECT_EQ(config->attentionBias, config->modelType == "qwen2");
  }
  // DeepSeek's own names are not Hugging Face's.
  files = filesIn(folder, ".json");
  for (const std::string &file : files)
    if (StringRef(file).contains("deepseek-v3-repo"))
      expectFailure(modelConfigFromJson(readJson(file), file), file,
                    "key 'model_type' is missing");
}

TEST(SharedData, ConfigValues) {
  const std::string folder = sharedData("configs");
  SKIP_UNLESS_PRESENT(folder);
  const auto config = [&](StringRef model) {
    const std::string file =
        folder + "/DeepSeek-R1-" + model.str() + ".config.json";
    return cantFail(modelConfigFromJson(readJson(file), file));
  };
  const ModelConfig qwen = config("Distill-Qwen-1.5B");
  EXPECT_EQ(qwen.hiddenSize, 1536);
  EXPECT_EQ(qwen.kvHeads, 2);
  EXPECT_EQ(qwen.rope.theta, 10000);
  const ModelConfig llama = config("Distill-Llama-8B");
  EXPECT_EQ(llama.rope.kind, RopeConfig::Kind::Llama3);
  EXPECT_EQ(llama.rope.factor, 8);
  const ModelConfig qwen3 = config("0528-Qwen3-8B");
  EXPECT_EQ(qwen3.rope.kind, RopeConfig::Kind::Yarn);
  EXPECT_EQ(qwen3.rope.originalMaxPositions, 32768);
  EXPECT_NEAR(qwen3.rope.cosSinFactor(), 1, 1e-12);
  EXPECT_NEAR(qwen3.rope.cosSinFactor(false), 1.138629436, 1e-9);

  const std::string file =
      folder + "/DeepSeek-R1-Distill.generation_config.json";
  const GenerationConfig generation =
      cantFail(generationConfigFromJson(readJson(file), file, qwen.vocabSize));
  EXPECT_EQ(generation.bosId, 151646);
  EXPECT_EQ(generation.temperature, 0.6);
}

TEST(SharedData, GgufVocabulary) {
  const std::string path = sharedData("gguf/ggml-vocab-deepseek-llm.gguf");
  SKIP_UNLESS_PRESENT(path);
  InputFile input = cantFail(InputFile::open(path));
  Expected<GgufFile> file = GgufFile::parse(input.bytes(), path);
  EXPECT_VALUE(file);
  EXPECT_TRUE(file->tensors().empty());
  Expected<GgufTokenizer> tokenizer = readGgufTokenizer(*file);
  EXPECT_VALUE(tokenizer);
  EXPECT_EQ(tokenizer->model, "gpt2");
  EXPECT_EQ(tokenizer->tokens.size(), 102400u);
  EXPECT_EQ(tokenizer->types.size(), tokenizer->tokens.size());
  Expected<ModelConfig> config = modelConfigFromGguf(*file, {});
  EXPECT_VALUE(config);
  EXPECT_EQ(config->modelType, "llama");
}

TEST(Goldens, Open) {
  const std::string folder = SPUTNIK_SOURCE_DIR "/test/golden";
  unsigned opened = 0;
  for (const std::string &file : filesIn(folder, "")) {
    const std::string description = file + "/golden.json";
    if (!sys::fs::exists(description))
      continue;
    SCOPED_TRACE(file);
    const json::Value golden = readJson(description);
    SmallString<256> model(file);
    const StringRef name = *golden.getAsObject()->getString("model");
    if (name != ".")
      sys::path::append(model, name);
    Expected<Checkpoint> checkpoint = Checkpoint::open(model);
    EXPECT_VALUE(checkpoint);
    const ModelConfig &config = checkpoint->config();
    EXPECT_EQ(config.vocabSize, golden.getAsObject()->getInteger("vocab_size"));
    const std::optional<LatentConfig> &latent = config.latent;
    const int64_t values =
        config.heads * (latent ? latent->valueDim : config.headDim);
    const int64_t dense =
        config.experts ? config.experts->firstLayer : config.layers;
    for (int64_t i = 0; i < config.layers; ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      EXPECT_VALUE(checkpoint->tensor(layer + "self_attn.o_proj.weight",
                                      {config.hiddenSize, values}));
      if (i < dense)
        EXPECT_VALUE(
            checkpoint->tensor(layer + "mlp.down_proj.weight",
                               {config.hiddenSize, config.intermediateSize}));
      else
        EXPECT_VALUE(
            checkpoint->tensor(layer + "mlp.gate.weight",
                               {config.experts->count, config.hiddenSize}));
    }
    EXPECT_EQ(config.tieWordEmbeddings, !checkpoint->find("lm_head.weight"));
    ++opened;
  }
  EXPECT_GT(opened, 0u);
}

} // namespace
} // namespace sputnik::testing
