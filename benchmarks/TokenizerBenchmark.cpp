//===- TokenizerBenchmark.cpp - Text to ids, in MB/s ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// With the vocabularies of the shared test data; skipped where it is absent.
// bytes_per_second is bytes of text on one thread.
//
//===----------------------------------------------------------------------===//

#include "importer/TokenizerBlobWriter.h"
#include "importer/TokenizerReader.h"
#include "runtime/tokenizer/Tokenizer.h"

#include "benchmark/benchmark.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <zlib.h>

using namespace sputnik;

namespace {

std::string readGzip(const std::string &path) {
  std::string text;
  if (gzFile file = gzopen(path.c_str(), "rb")) {
    char part[1 << 16];
    for (int size = 0; (size = gzread(file, part, sizeof(part))) > 0;)
      text.append(part, static_cast<size_t>(size));
    gzclose(file);
  }
  return text;
}

struct Loaded {
  llvm::SmallVector<char, 0> blob;
  std::optional<rt::Tokenizer> tokenizer;
};

/// The tokenizer of one of the models, made once; null where it is absent.
const Loaded *load(const std::string &model) {
  static std::map<std::string, std::unique_ptr<Loaded>> known;
  auto [at, isNew] = known.try_emplace(model);
  if (!isNew)
    return at->second.get();
  const char *variable = std::getenv("SPUTNIK_SHARED_DATA");
  const std::string folder =
      variable ? variable : std::string(SPUTNIK_SOURCE_DIR) + "/../shared/data";
  const std::string json = readGzip(folder + "/tokenizers/" + model +
                                    ".reconstructed.tokenizer.json.gz");
  if (json.empty())
    return nullptr;
  TokenizerTexts texts;
  texts.tokenizer = {model, json};
  llvm::Expected<TokenizerSpec> spec = readTokenizerTexts(texts);
  if (!spec) {
    llvm::consumeError(spec.takeError());
    return nullptr;
  }
  auto loaded = std::make_unique<Loaded>();
  loaded->blob = llvm::cantFail(writeTokenizerBlob(*spec));
  std::string error;
  loaded->tokenizer = rt::Tokenizer::open(
      std::as_bytes(std::span(loaded->blob.data(), loaded->blob.size())),
      error);
  at->second = std::move(loaded);
  return at->second.get();
}

/// About 1 MB; sentences that differ, as far as a generator can make them.
std::string repeated(std::initializer_list<const char *> sentences) {
  std::string text;
  size_t number = 0;
  while (text.size() < (1u << 20)) {
    for (size_t i = 0; i < sentences.size(); ++i)
      text += sentences.begin()[(number * 7 + i * i) % sentences.size()];
    text += ++number % 5 ? " " : "\n\n";
  }
  return text;
}

std::string english() {
  return repeated(
      {"It was a bright cold day in the hills, and the clocks of the village "
       "were striking thirteen. ",
       "Nobody had expected the engineer to answer so quickly; she had been "
       "reading about turbines since breakfast. ",
       "\"We don't know what they'll do,\" he said, \"but we've prepared for "
       "every reasonable outcome.\" ",
       "Between 1850 and 1920 the population grew from 12,400 to nearly "
       "98,000 people. ",
       "The extraordinary characteristics of semiconductors weren't understood "
       "until quantum mechanics explained them. ",
       "Please reason step by step, and put your final answer within a box. ",
       "Sunlight fell across the kitchen table, where a half-finished letter "
       "lay beside an empty cup. "});
}

std::string sourceCode() {
  return repeated({"for (int i = 0; i < count; ++i)\n    sum += values[i] * "
                   "weights[i];\n\n",
                   "static bool isPowerOfTwo(uint64_t x) {\n  return x && !(x "
                   "& (x - 1));\n}\n",
                   "    if (!file.open(path, mode)) {\n        throw "
                   "std::runtime_error(\"cannot open \" + path);\n    }\n",
                   "# since 1999\nimport os, sys\nprint(f\"{x:.3f}"
                   "\")\n"});
}

std::string chinese() {
  return repeated({"我想在苹果公司工作，因为那里的天气很好。",
                   "请一步一步地推理，并把最终答案放在方框里。",
                   "量子力学解释了半导体的特殊性质，共有128种。"});
}

void encode(benchmark::State &state, const char *model,
            const std::string &text) {
  const Loaded *loaded = load(model);
  if (!loaded) {
    state.SkipWithError("the shared test data is absent");
    return;
  }
  size_t tokens = 0;
  for (auto _ : state) {
    const std::vector<int32_t> ids = loaded->tokenizer->encode(text);
    tokens = ids.size();
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(text.size()));
  state.counters["bytes_per_token"] =
      static_cast<double>(text.size()) / static_cast<double>(tokens);
}

void decode(benchmark::State &state, const char *model,
            const std::string &text) {
  const Loaded *loaded = load(model);
  if (!loaded) {
    state.SkipWithError("the shared test data is absent");
    return;
  }
  const std::vector<int32_t> ids = loaded->tokenizer->encode(text);
  for (auto _ : state)
    benchmark::DoNotOptimize(loaded->tokenizer->decode(ids).data());
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(text.size()));
}

/// What an executable pays at start.
void open(benchmark::State &state, const char *model) {
  const Loaded *loaded = load(model);
  if (!loaded) {
    state.SkipWithError("the shared test data is absent");
    return;
  }
  std::string error;
  for (auto _ : state)
    benchmark::DoNotOptimize(rt::Tokenizer::open(
        std::as_bytes(std::span(loaded->blob.data(), loaded->blob.size())),
        error));
}

constexpr const char *qwen = "DeepSeek-R1-Distill-Qwen";
constexpr const char *llama = "DeepSeek-R1-Distill-Llama";
constexpr const char *deepSeek = "DeepSeek-R1";

BENCHMARK_CAPTURE(encode, qwen_english, qwen, english());
BENCHMARK_CAPTURE(encode, qwen_code, qwen, sourceCode());
BENCHMARK_CAPTURE(encode, qwen_chinese, qwen, chinese());
BENCHMARK_CAPTURE(encode, qwen_equal_letters, qwen, std::string(100'000, 'a'));
BENCHMARK_CAPTURE(encode, llama_english, llama, english());
BENCHMARK_CAPTURE(encode, deepseek_english, deepSeek, english());
BENCHMARK_CAPTURE(decode, qwen_english, qwen, english());
BENCHMARK_CAPTURE(open, qwen, qwen);

} // namespace

BENCHMARK_MAIN();
