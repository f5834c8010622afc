//===- ScoreCommand.cpp - How likely the model finds a text ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"
#include "runtime/Sampler.h"
#include "runtime/Session.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/Prompt.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace sputnik::rt {

/// Appends the negative log-likelihood of each token of `ids` but the first.
static Status scoreWindow(Session &session, std::span<const int32_t> ids,
                          std::vector<double> &scores) {
  session.truncate(0);
  const auto vocabSize =
      static_cast<size_t>(session.engine().model().vocabSize);
  const Status status = session.feedAll(
      ids.first(ids.size() - 1),
      [&](int64_t first, int64_t count, const float *logits) -> Status {
        const size_t base = scores.size();
        scores.resize(base + static_cast<size_t>(count));
        session.engine().pool().parallel([&](int64_t thread, int64_t threads) {
          for (int64_t row = thread; row < count; row += threads)
            scores[base + static_cast<size_t>(row)] = negativeLogLikelihood(
                {logits + static_cast<size_t>(row) * vocabSize, vocabSize},
                ids[static_cast<size_t>(first + row) + 1]);
        });
        for (size_t i = base; i < scores.size(); ++i)
          if (std::isnan(scores[i]))
            return SPUTNIK_ERROR("the model's logits at position %lld are not "
                                 "numbers",
                                 static_cast<long long>(first) +
                                     static_cast<long long>(i - base));
        return {};
      });
  return status;
}

Status scoreCommand(const Program &program, const ScoreOptions &options) {
  const abi::Model &model = program.model;
  std::vector<int32_t> ids;
  // What every window begins with.
  std::vector<int32_t> start;
  if (options.prompt.ids) {
    Result<std::vector<int32_t>> parsed =
        readIds(*options.prompt.ids, model.vocabSize);
    if (!parsed)
      return parsed.error();
    ids = std::move(*parsed);
  } else {
    Result<Tokenizer> tokenizer = openTokenizer(model);
    if (!tokenizer)
      return tokenizer.error();
    Result<std::string> text = readPromptText(options.prompt);
    if (!text)
      return text.error();
    ids = tokenizer->encode(*text, {.addBos = false, .addedTokens = false});
    if (tokenizer->addsBos() && tokenizer->bosId())
      start.push_back(*tokenizer->bosId());
  }
  const int64_t window = options.window > 0 ? options.window : model.maxContext;
  if (window > model.maxContext)
    return SPUTNIK_ERROR("--window is %lld, the context holds %lld tokens",
                         static_cast<long long>(window),
                         static_cast<long long>(model.maxContext));
  if (ids.size() + start.size() < 2)
    return SPUTNIK_ERROR("the text has %zu tokens, expected at least 2",
                         ids.size() + start.size());

  Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, options.threads);
  if (!engine)
    return engine.error();
  Session session(**engine);
  std::vector<double> scores;
  const size_t step = static_cast<size_t>(window) - start.size();
  for (size_t at = 0; at < ids.size(); at += step) {
    std::vector<int32_t> part = start;
    const size_t end = std::min(ids.size(), at + step);
    part.insert(part.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                ids.begin() + static_cast<std::ptrdiff_t>(end));
    if (part.size() < 2)
      break;
    if (Status status = scoreWindow(session, part, scores); !status)
      return status;
  }

  double sum = 0;
  for (double score : scores)
    sum += score;
  const double mean = sum / static_cast<double>(scores.size());
  if (!options.json)
    return print(format("tokens scored: %zu\n"
                        "negative log-likelihood per token: %.6f\n"
                        "perplexity: %.7g\n",
                        scores.size(), mean, std::exp(mean)));
  const nlohmann::ordered_json result = {{"tokens", scores.size()},
                                         {"nll", mean},
                                         {"perplexity", std::exp(mean)},
                                         {"token_nll", scores}};
  return print(result.dump() + "\n");
}

} // namespace sputnik::rt
