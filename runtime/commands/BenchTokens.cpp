//===- BenchTokens.cpp - What a benchmark reads and decodes ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/BenchTokens.h"
#include "runtime/Random.h"
#include "runtime/commands/Prompt.h"

#include <algorithm>

namespace sputnik::rt {

/// `textTokens` is the length of the text to read, 0 if there is none.
static Result<Lengths> lengthsOf(const abi::Model &model,
                                 const BenchOptions &options,
                                 int64_t textTokens) {
  const int64_t most = model.maxContext;
  const int64_t context = options.context.value_or(textTokens);
  const int64_t prompt = options.prompt.value_or(
      textTokens > 0 ? textTokens : std::min<int64_t>(512, most));
  const int64_t gen =
      options.gen.value_or(std::clamp<int64_t>(most - context, 1, 64));
  if (prompt > most)
    return SPUTNIK_ERROR("--prompt is %lld, the context holds %lld tokens",
                         static_cast<long long>(prompt),
                         static_cast<long long>(most));
  if (context > most || gen > most - context)
    return SPUTNIK_ERROR("--context %lld and --gen %lld are more than the %lld "
                         "tokens of the context",
                         static_cast<long long>(context),
                         static_cast<long long>(gen),
                         static_cast<long long>(most));
  if (textTokens > 0 && std::max(prompt, context) > textTokens)
    return SPUTNIK_ERROR("the text has %lld tokens, expected at least %lld",
                         static_cast<long long>(textTokens),
                         static_cast<long long>(std::max(prompt, context)));
  return Lengths{prompt, gen, context};
}

Result<BenchTokens> chooseTokens(const abi::Model &model,
                                 const BenchOptions &options,
                                 const std::optional<Tokenizer> &tokenizer) {
  std::vector<int32_t> ids;
  if (options.file) {
    PromptOptions prompt;
    prompt.file = options.file;
    const Result<std::string> text = readPromptText(prompt);
    if (!text)
      return text.error();
    ids = encodePlain(*tokenizer, *text);
    if (ids.empty())
      return Error{"the text is empty: there is nothing to read"};
  }
  const Result<Lengths> lengths =
      lengthsOf(model, options, static_cast<int64_t>(ids.size()));
  if (!lengths)
    return lengths.error();
  if (options.file)
    return BenchTokens{*lengths, std::move(ids)};
  ids.resize(static_cast<size_t>(
      std::max({lengths->prompt, lengths->context,
                std::min(startupTokens, model.maxContext)})));
  const auto idCount = static_cast<uint64_t>(
      std::max<int64_t>(sampledIds(model, tokenizer), 1));
  Random random(1);
  for (int32_t &id : ids)
    id = static_cast<int32_t>(random.next() % idCount);
  return BenchTokens{*lengths, std::move(ids)};
}

} // namespace sputnik::rt
