//===- GoldenTest.cpp - Whole models against transformers -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiles every checkpoint in test/golden with the driver and compares the
// executables with what Hugging Face transformers computed in float32: logits,
// greedy tokens, and the same bytes for one and two threads.
//
//===----------------------------------------------------------------------===//

#include "test/models/Process.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

#include <cmath>
#include <cstring>
#include <map>

using namespace llvm;
using namespace sputnik;

namespace {

struct Prompt {
  std::string ids;
  std::vector<int64_t> rows;
  int64_t offset;
  std::string greedy;
};

struct Golden {
  std::string model;
  int64_t vocabulary;
  std::vector<float> logits;
  std::vector<Prompt> prompts;
};

std::vector<float> readFloats(const Twine &path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer) {
    ADD_FAILURE() << path.str() << ": " << buffer.getError().message();
    return {};
  }
  std::vector<float> values((*buffer)->getBufferSize() / sizeof(float));
  std::memcpy(values.data(), (*buffer)->getBufferStart(),
              values.size() * sizeof(float));
  return values;
}

std::string joinIds(const json::Array &ids) {
  std::vector<std::string> text;
  for (const json::Value &id : ids)
    text.push_back(std::to_string(*id.getAsInteger()));
  return join(text, ",");
}

Golden readGolden(StringRef name) {
  std::string folder =
      (Twine(SPUTNIK_SOURCE_DIR "/test/golden/") + name + "/").str();
  auto buffer = MemoryBuffer::getFile(folder + "golden.json");
  Expected<json::Value> value = json::parse((*buffer)->getBuffer());
  const json::Object &object = *value->getAsObject();
  Golden golden;
  StringRef model = *object.getString("model");
  golden.model = model == "." ? folder : folder + model.str();
  golden.vocabulary = *object.getInteger("vocab_size");
  golden.logits = readFloats(folder + *object.getString("logits"));
  for (const json::Value &entry : *object.getArray("prompts")) {
    const json::Object &prompt = *entry.getAsObject();
    Prompt result;
    result.ids = joinIds(*prompt.getArray("ids"));
    for (const json::Value &row : *prompt.getArray("rows"))
      result.rows.push_back(*row.getAsInteger());
    result.offset = *prompt.getInteger("offset");
    result.greedy = joinIds(*prompt.getArray("greedy"));
    golden.prompts.push_back(result);
  }
  return golden;
}

std::vector<std::string> listGoldens() {
  std::vector<std::string> names;
  std::error_code error;
  for (sys::fs::directory_iterator it(SPUTNIK_SOURCE_DIR "/test/golden", error),
       end;
       it != end && !error; it.increment(error))
    if (sys::fs::exists(it->path() + "/golden.json"))
      names.push_back(sys::path::filename(it->path()).str());
  sort(names);
  return names;
}

struct Config {
  std::string golden, quant, level, target = "native";
  std::vector<std::string> emulator = {};
  /// Further options of the compiler.
  std::vector<std::string> options = {};

  std::string name() const {
    std::string text = golden + "_" + quant + "_O" + level + "_" + target;
    for (const std::string &option : options)
      text += option;
    for (char &c : text)
      if (!isAlnum(c))
        c = '_';
    return text;
  }
};

/// How far logits may be from float32's, as fractions of the largest magnitude
/// of their row. In bf16, with 8 bits of precision, weights, cache and (in
/// prefill) activations are rounded once each; so are keys, values and queries
/// with a cache of q8. A row whose experts are then others may be far off: of models
/// with experts the mean counts. In 8 or 4 bits random weights lose much.
struct Tolerance {
  double worst, rootMeanSquare;
};

/// Keeps all of an FP8 checkpoint, whose embedding and head are bf16.
const std::vector<std::string> keepsFloat8 = {"--quant-override=head=bf16",
                                              "--kv=f32"};
const std::vector<std::string> quantizesCache = {"--kv=q8"};

Tolerance toleranceOf(const Config &config) {
  if (config.options == quantizesCache)
    return {8e-2, 2e-2};
  if (config.quant == "f32" ||
      (config.level == "0" && config.options == keepsFloat8))
    return {1e-4, 1e-4};
  if (config.quant == "bf16" || config.options == keepsFloat8)
    return {StringRef(config.golden).starts_with("deepseek") ? 0.3 : 8e-2, 2e-2};
  return {2, config.quant == "q4" ? 0.3 : config.quant == "fp8" ? 0.15 : 0.1};
}

class GoldenTest : public testing::TestWithParam<Config> {};

} // namespace

TEST_P(GoldenTest, MatchesTransformers) {
  const Config &config = GetParam();
  Golden golden = readGolden(config.golden);
  TemporaryFolder folder;
  std::string executable = folder.path("model");
  std::vector<std::string> compile = {
      SPUTNIK_PROGRAM,          "compile",
      golden.model,             "-o",
      executable,               "--quant=" + config.quant,
      "-O" + config.level,      "--target=" + config.target,
      "--quiet"};
  compile.insert(compile.end(), config.options.begin(), config.options.end());
  run(compile);
  std::vector<std::string> base = config.emulator;
  if (StringRef(config.target).starts_with("sm_")) {
    // The driver that needs no GPU runs the kernels' LLVM IR.
    run({SPUTNIK_PROGRAM, "compile", golden.model, "-o", executable + ".ll",
         "--quant=" + config.quant, "--target=" + config.target, "--emit=llvm",
         "--quiet"});
    base = {*sys::findProgramByName("env"), "LD_LIBRARY_PATH=" SPUTNIK_FAKE_CUDA,
            "SPUTNIK_FAKE_CUDA_IR=" + executable + ".ll"};
  }
  base.push_back(executable);
  auto with = [&](std::vector<std::string> rest) {
    std::vector<std::string> command = base;
    command.insert(command.end(), rest.begin(), rest.end());
    return command;
  };

  Tolerance tolerance = toleranceOf(config);
  for (const Prompt &prompt : golden.prompts) {
    std::vector<float> logits[2];
    for (int threads : {1, 2}) {
      std::string file = folder.path("logits");
      run(with({"logits", "--ids", prompt.ids, "-o", file, "--threads",
                std::to_string(threads)}));
      logits[threads - 1] = readFloats(file);
    }
    ASSERT_EQ(logits[0].size(),
              golden.vocabulary * (1 + StringRef(prompt.ids).count(',')));
    ASSERT_EQ(logits[0].size(), logits[1].size());
    EXPECT_EQ(std::memcmp(logits[0].data(), logits[1].data(),
                          logits[0].size() * sizeof(float)),
              0)
        << "one and two threads differ";
    double worst = 0, squares = 0;
    for (auto [k, row] : enumerate(prompt.rows)) {
      ArrayRef<float> expected(
          &golden.logits[prompt.offset + k * golden.vocabulary],
          golden.vocabulary);
      ArrayRef<float> found(&logits[0][row * golden.vocabulary],
                            golden.vocabulary);
      double largest = 0;
      for (float value : expected)
        largest = std::max<double>(largest, std::fabs(value));
      for (auto [a, b] : zip(expected, found)) {
        double error = std::fabs(double(a) - b) / largest;
        // Written so that a NaN fails.
        worst = error <= worst ? worst : error;
        squares += error * error;
      }
    }
    double mean = std::sqrt(
        squares / static_cast<double>(prompt.rows.size() * golden.vocabulary));
    EXPECT_LE(worst, tolerance.worst);
    EXPECT_LE(mean, tolerance.rootMeanSquare);
    if (config.quant == "f32" && config.options.empty()) {
      // Threads that meet in every token wait long where cores are busy.
      auto generate = [&](const char *tokens, const char *threads) {
        return run(with({"run", "--ids", prompt.ids, "-n", tokens, "--temp",
                         "0", "--print-ids", "--ignore-eos", "--threads",
                         threads}));
      };
      EXPECT_EQ(StringRef(generate("64", "1")).trim(), prompt.greedy);
      std::string first = generate("6", "2");
      EXPECT_EQ(StringRef(first).count(','), 5u);
      EXPECT_TRUE(StringRef(prompt.greedy).starts_with(StringRef(first).trim()))
          << first;
    }
  }
}

static std::vector<Config> allConfigs() {
  std::vector<Config> configs;
  for (const std::string &golden : listGoldens())
    for (const char *quant : {"f32", "bf16"})
      for (const char *level : {"0", "3"})
        configs.push_back({golden, quant, level});
  // Experts, latents and block scales in the formats with scales.
  for (const char *golden :
       {"deepseek-g2-dense2-yarn", "deepseek-g8-noqlora", "deepseek-g4-fp8"})
    for (const char *quant : {"q8", "q4", "fp8"})
      for (const char *level : {"0", "3"})
        configs.push_back({golden, quant, level});
  for (const char *level : {"0", "3"})
    configs.push_back(
        {"deepseek-g4-fp8", "fp8", level, "native", {}, keepsFloat8});
  return configs;
}

/// A cache of q8 with each size of heads, where nothing else is rounded.
static std::vector<Config> quantizedCacheConfigs() {
  std::vector<Config> configs;
  for (const char *golden : {"qwen2-hd80-g1", "qwen2-hd64-g7-sharded",
                             "llama-hd64-g3-llama3", "qwen3-hd128-g3-yarn"})
    for (const char *level : {"0", "3"})
      configs.push_back({golden, "f32", level, "native", {}, quantizesCache});
#ifdef __x86_64__
  configs.push_back({"qwen3-hd128-g3-yarn", "bf16", "3", "x86-64-v3", {}, quantizesCache});
#endif
  return configs;
}

/// One model of each family on targets beside the machine's own.
static std::vector<Config> crossConfigs() {
  std::vector<Config> configs;
  for (const char *golden :
       {"qwen2-hd80-g1", "llama-hd64-g3-llama3", "qwen3-hd128-g3-yarn"})
    for (const char *quant : {"f32", "bf16"}) {
#ifdef __x86_64__
      configs.push_back({golden, quant, "3", "x86-64-v3"});
      if (__builtin_cpu_supports("x86-64-v4"))
        configs.push_back({golden, quant, "3", "x86-64-v4"});
      if (StringRef(quant) == "f32")
        configs.push_back({golden, quant, "3", "sm_90a"});
#endif
      if (ErrorOr<std::string> qemu =
              sys::findProgramByName("qemu-aarch64-static");
          qemu && SPUTNIK_HAVE_AARCH64)
        configs.push_back({golden, quant, "3", "aarch64", {*qemu}});
    }
  return configs;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenTest);
INSTANTIATE_TEST_SUITE_P(Native, GoldenTest, testing::ValuesIn(allConfigs()),
                         [](const auto &info) { return info.param.name(); });
INSTANTIATE_TEST_SUITE_P(QuantizedCache, GoldenTest,
                         testing::ValuesIn(quantizedCacheConfigs()),
                         [](const auto &info) { return info.param.name(); });
INSTANTIATE_TEST_SUITE_P(Cross, GoldenTest, testing::ValuesIn(crossConfigs()),
                         [](const auto &info) { return info.param.name(); });
