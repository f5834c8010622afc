//===- Prompt.cpp - From options to tokens --------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/Prompt.h"
#include "runtime/Clock.h"
#include "runtime/ModelInfo.h"
#include "runtime/tokenizer/TextInput.h"
#include "runtime/tokenizer/TokenIds.h"

#include <algorithm>
#include <cstddef>
#include <iostream>
#include <span>
#include <sys/random.h>
#include <unistd.h>

namespace sputnik::rt {

Result<Tokenizer> openTokenizer(const abi::Model &model) {
  if (model.tokenizerBytes == 0)
    return Error{"this model was compiled without a tokenizer: give token ids "
                 "with --ids, get them with --print-ids"};
  std::string error;
  std::optional<Tokenizer> tokenizer =
      Tokenizer::open({reinterpret_cast<const std::byte *>(model.tokenizer),
                       static_cast<size_t>(model.tokenizerBytes)},
                      error);
  if (!tokenizer)
    return Error{error};
  return *tokenizer;
}

Result<std::vector<int32_t>> readIds(const std::string &list, int64_t limit) {
  std::string error;
  std::optional<std::vector<int32_t>> ids = parseTokenIds(list, error);
  if (!ids)
    return Error{"--ids: " + error};
  for (int32_t id : *ids)
    if (id >= limit)
      return SPUTNIK_ERROR("--ids: %d is outside the model's vocabulary, "
                           "expected less than %lld",
                           id, static_cast<long long>(limit));
  return std::move(*ids);
}

Result<std::string> readPromptText(const PromptOptions &options) {
  if (!options.file)
    return options.text.value_or("");
  const bool standard = *options.file == "-";
  std::string error;
  std::optional<std::string> text =
      readText(standard ? std::nullopt : options.file, std::cin,
               Tokenizer::maxTextBytes, error);
  if (!text)
    return Error{error};
  return std::move(*text);
}

std::vector<int32_t> encodePlain(const Tokenizer &tokenizer,
                                 const std::string &text) {
  return tokenizer.encode(
      text, {.addBos = tokenizer.addsBos(), .addedTokens = false});
}

static uint64_t randomSeed() {
  uint64_t seed;
  if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) !=
      static_cast<ssize_t>(sizeof(seed)))
    seed = monotonicNanoseconds() ^ static_cast<uint64_t>(getpid()) << 48;
  return seed;
}

SamplingOptions samplingOptions(const abi::Model &model,
                                const SamplingChoice &choice) {
  SamplingOptions options = readModelInfo(model).sampling;
  options.temperature = choice.temperature.value_or(options.temperature);
  options.topP = choice.topP.value_or(options.topP);
  options.topK = choice.topK.value_or(options.topK);
  options.seed = choice.seed ? *choice.seed : randomSeed();
  return options;
}

int64_t sampledIds(const abi::Model &model,
                   const std::optional<Tokenizer> &tokenizer) {
  return tokenizer ? std::min<int64_t>(model.vocabSize, tokenizer->vocabSize())
                   : model.vocabSize;
}

std::vector<int32_t> stopIds(const abi::Model &model,
                             const std::optional<Tokenizer> &tokenizer) {
  std::vector<int32_t> ids = readModelInfo(model).eosIds;
  if (tokenizer)
    ids.insert(ids.end(), tokenizer->eosIds().begin(),
               tokenizer->eosIds().end());
  return ids;
}

} // namespace sputnik::rt
