//===- InspectTest.cpp - What is said of models ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/Inspect.h"

#include "importer/InputFile.h"
#include "test/unit/link/TemporaryFolder.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

using namespace llvm;
using namespace sputnik;

namespace {

std::string golden(StringRef name) {
  return (SPUTNIK_SOURCE_DIR "/test/golden/" + name).str();
}

std::string inspect(StringRef path, bool json) {
  std::string text;
  raw_string_ostream os(text);
  if (Error error = inspectModel(path, json, os))
    ADD_FAILURE() << toString(std::move(error));
  return text;
}

/// The member at a path of keys, `compile.bf16.weight_bytes`.
std::optional<int64_t> number(const json::Value &root, StringRef path) {
  const json::Value *value = &root;
  for (StringRef key : llvm::split(path, '.')) {
    const json::Object *object = value->getAsObject();
    value = object ? object->get(key) : nullptr;
    if (!value)
      return std::nullopt;
  }
  return value->getAsInteger();
}

json::Value inspectJson(StringRef path) {
  return cantFail(json::parse(inspect(path, /*json=*/true)));
}

/// A folder with one of the configurations of the shared data, if it is there.
class SharedConfig {
public:
  explicit SharedConfig(StringRef model) {
    const char *shared = std::getenv("SPUTNIK_SHARED_DATA");
    const std::string file =
        ((shared ? shared : SPUTNIK_SOURCE_DIR "/../shared/data") +
         Twine("/configs/") + model + ".config.json")
            .str();
    present = sys::fs::exists(file);
    if (present)
      writeFile(folder.path("config.json"), readFile(file));
  }
  std::string path() const { return folder.path(""); }

  bool present;

private:
  TemporaryFolder folder;
};

struct Model {
  StringLiteral name;
  int64_t parameters, streamed, kvBytes;
};

constexpr Model models[] = {
    {"DeepSeek-R1-Distill-Qwen-1.5B", 1777088000, 1543714304, 28672},
    {"DeepSeek-R1-Distill-Qwen-7B", 7615616512, 7070619136, 57344},
    {"DeepSeek-R1-Distill-Llama-8B", 8030261248, 7504924672, 131072},
    {"DeepSeek-R1-0528-Qwen3-8B", 8190735360, 7568405504, 147456},
    {"DeepSeek-R1-Distill-Qwen-14B", 14770033664, 13991465984, 196608},
    {"DeepSeek-R1-Distill-Qwen-32B", 32763876352, 31985308672, 262144},
    {"DeepSeek-R1-Distill-Llama-70B", 70553706496, 69503033344, 327680},
};

TEST(Inspect, SizesOfTheFamily) {
  for (const Model &model : models) {
    SCOPED_TRACE(model.name.str());
    SharedConfig config(model.name);
    if (!config.present)
      GTEST_SKIP() << "no shared configuration of " << model.name.str();
    const json::Value report = inspectJson(config.path());
    EXPECT_EQ(number(report, "parameters"), model.parameters);
    EXPECT_EQ(number(report, "parameters_per_token"), model.streamed);
    EXPECT_EQ(number(report, "compile.f32.weight_bytes"),
              4 * model.parameters);
    EXPECT_EQ(number(report, "compile.f32.weight_bytes_per_token"),
              4 * model.streamed);
    // Vectors, which are few, stay f32.
    const auto expectNear = [&](StringRef key, int64_t bytes) {
      const int64_t found = number(report, key).value_or(0);
      EXPECT_GE(found, bytes) << key.str();
      EXPECT_LE(found, bytes + bytes / 1000) << key.str();
    };
    expectNear("compile.bf16.weight_bytes", 2 * model.parameters);
    expectNear("compile.bf16.weight_bytes_per_token", 2 * model.streamed);
    EXPECT_EQ(number(report, "compile.bf16.kv_bytes_per_token"), model.kvBytes);
    EXPECT_EQ(number(report, "compile.f32.kv_bytes_per_token"),
              2 * model.kvBytes);
    EXPECT_EQ(number(report, "context"), 131072);
    EXPECT_EQ(number(report, "tensors.count"), 0);
  }
}

TEST(Inspect, DeepSeekR1) {
  SharedConfig config("DeepSeek-R1");
  if (!config.present)
    GTEST_SKIP() << "no shared configuration of DeepSeek-R1";
  const json::Value report = inspectJson(config.path());
  EXPECT_EQ(number(report, "layers"), 61);
  // Facts of the model: the sum of its tensors' elements, and of those that only
  // the draft head of layer 61 has.
  EXPECT_EQ(number(report, "parameters"), 671026419200 + 11610068224);
  EXPECT_EQ(number(report, "compile.bf16.kv_bytes_per_token"), 576 * 62 * 2);
  // 8 of 256 experts, and all else but the embedding: the active parameters of
  // published counts and the 58 x 256 biases of routers.
  // The draft head adds a layer's attention, nine experts, its router, what
  // joins its inputs, and its gains and biases.
  EXPECT_EQ(number(report, "parameters_per_token"),
            36625603584 + 58 * 256 + 187105280 + 9 * 44040192 + 1835008 +
                7168 * 14336 + 38144);
  // One expert is a matrix of 44,040,192 values; in fp8 each 128 have a scale of
  // 4 bytes. A token reads 8 of 256.
  constexpr int64_t experts = int64_t(59) * 256 * 44040192;
  EXPECT_EQ(number(report, "compile.fp8.parts.experts.bytes"),
            experts / 32 * 33);
  EXPECT_EQ(number(report, "compile.fp8.parts.experts.per_token"),
            experts / 32 / 32 * 33);
  EXPECT_EQ(number(report, "compile.bf16.parts.experts.bytes"), 2 * experts);
  EXPECT_EQ(number(report, "compile.fp8.parts.embedding.bytes"),
            int64_t(2) * 129280 * 7168);
  EXPECT_EQ(number(report, "compile.fp8.parts.embedding.per_token"), 0);
  // 37.9 GB for the 36.6 billion active parameters, 0.7 for the draft head.
  const double perToken = static_cast<double>(
      number(report, "compile.fp8.weight_bytes_per_token").value_or(0));
  EXPECT_NEAR(perToken, 38.6e9, 0.05e9);
  const std::string text = inspect(config.path(), /*json=*/false);
  EXPECT_NE(text.find("  experts     665,183,059,968"), std::string::npos)
      << text;
  EXPECT_NE(text.find("yarn, theta 10000, factor 40 beyond 4,096 positions"),
            std::string::npos)
      << text;
}

TEST(Inspect, TextOfASmallModel) {
  const std::string path = golden("qwen3-hd128-g3-yarn");
  EXPECT_EQ(inspect(path, /*json=*/false),
            "model         " + path + R"( (safetensors)
architecture  qwen3: 2 layers of width 60, 3 heads and 1 KV heads of 128, 77 in the MLP
tensors       25, 0.717 MB: 25 F32
parameters    179,372
  embedding   13,980, 0.028 MB with --quant=bf16; each token reads 0.000 MB
  layers      151,352, 0.304 MB with --quant=bf16; each token reads 0.304 MB
  head        14,040, 0.028 MB with --quant=bf16; each token reads 0.028 MB
tokens        233 rows; no tokenizer; BOS 1; EOS 2
context       2,048 positions
rope          yarn, theta 10000, factor 4 beyond 512 positions
--quant=f32   0.717 MB of weights; each token reads 0.662 MB and 2,048 bytes of KV cache per position, 4.194 MB for all
--quant=bf16  0.360 MB of weights; each token reads 0.332 MB and 1,024 bytes of KV cache per position, 2.097 MB for all
--quant=q8    0.227 MB of weights; each token reads 0.199 MB and 1,024 bytes of KV cache per position, 2.097 MB for all
--quant=fp8   0.335 MB of weights; each token reads 0.307 MB and 1,024 bytes of KV cache per position, 2.097 MB for all
--quant=q4    0.136 MB of weights; each token reads 0.108 MB and 1,024 bytes of KV cache per position, 2.097 MB for all
--kv=q8       552 bytes of KV cache per position, 1.130 MB for all
)");
}

TEST(Inspect, TiedHeadIsReadByEachToken) {
  const json::Value report = inspectJson(golden("qwen2-hd64-g3-tied"));
  EXPECT_EQ(number(report, "parameters"),
            number(report, "parameters_per_token"));
}

TEST(Inspect, GgufNamesItsTypesAndTokens) {
  const std::string folder = golden("llama-hd64-g3-llama3-gguf-q8_0");
  const json::Value report = inspectJson(folder + "/model-00001-of-00002.gguf");
  const json::Value source = inspectJson(golden("llama-hd64-g3-llama3"));
  EXPECT_EQ(number(report, "parameters"), number(source, "parameters"));
  EXPECT_GT(number(report, "tensors.types.Q8_0.count"), 0);
  EXPECT_GT(number(report, "tokens.vocabulary"), 256);
  EXPECT_TRUE(number(report, "tokens.bos"));
}

TEST(Inspect, ATokenizerThatCannotBeReadIsReported) {
  TemporaryFolder folder;
  writeFile(folder.path("config.json"),
            readFile(golden("qwen3-hd128-g3-yarn/config.json")));
  writeFile(folder.path("tokenizer.json"), "{}");
  const json::Value report = inspectJson(folder.path(""));
  EXPECT_TRUE(report.getAsObject()->getObject("tokens")->getString("error"));
  EXPECT_TRUE(number(report, "parameters"));
}

TEST(Inspect, NoModel) {
  TemporaryFolder folder;
  Error error = inspectModel(folder.path(""), /*json=*/false, nulls());
  EXPECT_TRUE(static_cast<bool>(error));
  EXPECT_NE(toString(std::move(error)).find("config.json"), std::string::npos);
}

} // namespace
