//===- ScoreCommand.cpp - How likely the model finds a text ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Divergence.h"
#include "runtime/Files.h"
#include "runtime/Sampler.h"
#include "runtime/Session.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/Prompt.h"
#include "runtime/commands/ReferenceLogits.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

namespace sputnik::rt {

namespace {
/// What is known of each token that was predicted.
struct Scores {
  std::vector<double> likelihoods; ///< Negative, logarithmic.
  std::vector<Divergence> divergences;
};
} // namespace

/// Appends the scores of each token of `ids` but the first. `reference` (may be
/// null) has the logits of the first of `ids` in its row `firstRow`.
static Status scoreWindow(Session &session, std::span<const int32_t> ids,
                          const ReferenceLogits *reference, int64_t firstRow,
                          Scores &scores) {
  session.truncate(0);
  const auto vocabSize =
      static_cast<size_t>(session.engine().model().vocabSize);
  std::vector<float> expected;
  return session.feedAll(
      ids.first(ids.size() - 1),
      [&](int64_t first, int64_t count, const float *logits) -> Status {
        const size_t base = scores.likelihoods.size();
        scores.likelihoods.resize(base + static_cast<size_t>(count));
        if (reference) {
          scores.divergences.resize(base + static_cast<size_t>(count));
          expected.resize(static_cast<size_t>(count) * vocabSize);
          if (Status status = reference->read(firstRow + first, expected);
              !status)
            return status;
        }
        session.engine().pool().parallel([&](int64_t thread, int64_t threads) {
          for (int64_t row = thread; row < count; row += threads) {
            const size_t at = base + static_cast<size_t>(row);
            const size_t begin = static_cast<size_t>(row) * vocabSize;
            const std::span own(logits + begin, vocabSize);
            scores.likelihoods[at] = negativeLogLikelihood(
                own, ids[static_cast<size_t>(first + row) + 1]);
            if (reference)
              scores.divergences[at] =
                  divergence(std::span(expected).subspan(begin, vocabSize), own);
          }
        });
        for (size_t i = base; i < scores.likelihoods.size(); ++i) {
          const auto position = static_cast<long long>(first) +
                                static_cast<long long>(i - base);
          if (std::isnan(scores.likelihoods[i]))
            return SPUTNIK_ERROR("the model's logits at position %lld are not "
                                 "numbers",
                                 position);
          if (reference && std::isnan(scores.divergences[i].nats))
            return SPUTNIK_ERROR("%s: the logits in row %lld are not numbers",
                                 reference->name().c_str(),
                                 static_cast<long long>(firstRow) + position);
        }
        return {};
      });
}

/// Prints what was found.
static Status report(const Scores &scores, bool compared, bool json) {
  double sum = 0;
  for (double score : scores.likelihoods)
    sum += score;
  const size_t count = scores.likelihoods.size();
  const double mean = sum / static_cast<double>(count);
  const DivergenceSummary summary =
      compared ? summarize(scores.divergences) : DivergenceSummary{};
  if (!json) {
    std::string text = format("tokens scored: %zu\n"
                              "negative log-likelihood per token: %.6f\n"
                              "perplexity: %.7g\n",
                              count, mean, std::exp(mean));
    if (compared)
      text += format("KL divergence: mean %.6g, median %.6g, p99 %.6g\n"
                     "same likeliest token: %.2f %%\n",
                     summary.mean, summary.median, summary.p99,
                     100 * summary.topAgreement);
    return print(text);
  }
  nlohmann::ordered_json result = {{"tokens", count},
                                   {"nll", mean},
                                   {"perplexity", std::exp(mean)}};
  if (compared) {
    result["kl_mean"] = summary.mean;
    result["kl_median"] = summary.median;
    result["kl_p99"] = summary.p99;
    result["top1_agreement"] = summary.topAgreement;
  }
  result["token_nll"] = scores.likelihoods;
  if (compared)
    for (const Divergence &divergence : scores.divergences)
      result["token_kl"].push_back(divergence.nats);
  return print(result.dump() + "\n");
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

  std::optional<ReferenceLogits> reference;
  const size_t step = static_cast<size_t>(window) - start.size();
  if (!options.reference.empty()) {
    const size_t windows = (ids.size() + step - 1) / step;
    Result<ReferenceLogits> opened = ReferenceLogits::open(
        options.reference,
        static_cast<int64_t>(ids.size() + windows * start.size()),
        model.vocabSize);
    if (!opened)
      return opened.error();
    reference.emplace(std::move(*opened));
  }

  Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, options.resources);
  if (!engine)
    return engine.error();
  std::vector<double> observed(model.observedBytes / sizeof(double));
  std::optional<OutputFile> observations;
  if (!options.observations.empty()) {
    if (observed.empty())
      return Error{"--observations: this executable observes nothing; sputnik "
                   "calibrate makes one that does"};
    Result<OutputFile> created = OutputFile::create(options.observations);
    if (!created)
      return created.error();
    observations.emplace(std::move(*created));
    (*engine)->setObserved(reinterpret_cast<uint8_t *>(observed.data()));
  }
  Session session(**engine);
  Scores scores;
  int64_t row = 0;
  for (size_t at = 0; at < ids.size(); at += step) {
    std::vector<int32_t> part = start;
    const size_t end = std::min(ids.size(), at + step);
    part.insert(part.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                ids.begin() + static_cast<std::ptrdiff_t>(end));
    if (part.size() < 2)
      break;
    if (Status status = scoreWindow(session, part,
                                    reference ? &*reference : nullptr, row,
                                    scores);
        !status)
      return status;
    row += static_cast<int64_t>(part.size());
  }
  if (observations) {
    if (Status status = observations->write(
            {reinterpret_cast<const char *>(observed.data()),
             observed.size() * sizeof(double)});
        !status)
      return status;
    if (Status status = observations->commit(); !status)
      return status;
  }
  return report(scores, reference.has_value(), options.json);
}

} // namespace sputnik::rt
