//===- Sampler.cpp - Picks the next token from a row of logits ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Sampler.h"
#include "runtime/Exponential.h"

#include <algorithm>
#include <cmath>

namespace sputnik::rt {

/// Tokens whose weight is below e^-this of the largest are dropped: all of them
/// together are below the rounding of the sum.
static constexpr double negligible = 64.0;

Sampler::Sampler(const SamplingOptions &options, int64_t idCount)
    : options(options), idCount(idCount), random(options.seed) {}

bool Sampler::precedes(const Candidate &a, const Candidate &b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

Result<double> Sampler::process(std::span<const float> logits) {
  logits = logits.first(std::min(
      logits.size(), static_cast<size_t>(std::max<int64_t>(idCount, 0))));
  int32_t best = -1;
  float largest = -INFINITY;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (std::isnan(logits[id]))
      return SPUTNIK_ERROR("the model's logit of token %zu is not a number",
                           id);
    if (logits[id] > largest) {
      largest = logits[id];
      best = static_cast<int32_t>(id);
    }
  }
  if (!std::isfinite(largest))
    return SPUTNIK_ERROR("the model's largest logit is %s, expected a number",
                         largest > 0 ? "infinite" : "minus infinity");
  if (options.temperature <= 0) {
    candidates.assign(1, {1, largest, best});
    return 1.0;
  }

  const double scale = 1.0 / options.temperature;
  const double lowest = static_cast<double>(largest) - negligible / scale;
  candidates.clear();
  for (size_t id = 0; id < logits.size(); ++id)
    if (static_cast<double>(logits[id]) >= lowest)
      candidates.push_back({0, logits[id], static_cast<int32_t>(id)});

  if (options.topK > 0 &&
      static_cast<size_t>(options.topK) < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + options.topK - 1,
                     candidates.end(), precedes);
    candidates.resize(static_cast<size_t>(options.topK));
    std::sort(candidates.begin(), candidates.end(), precedes);
  }
  double sum = 0;
  for (Candidate &candidate : candidates) {
    candidate.weight = expNonPositive(
        (static_cast<double>(candidate.logit) - static_cast<double>(largest)) *
        scale);
    sum += candidate.weight;
  }
  if (options.topP >= 1)
    return sum;

  // All tokens below this weight have less than 1 - p together, so that the
  // others reach p without them.
  const double needed = options.topP * sum;
  const double floor =
      (sum - needed) / (2 * static_cast<double>(candidates.size()));
  std::erase_if(candidates, [floor](const Candidate &candidate) {
    return candidate.weight < floor;
  });
  // Sort no further than p reaches.
  double reached = 0;
  size_t kept = 0;
  for (size_t sorted = 0, step = 64; kept < candidates.size(); step *= 4) {
    const size_t end = std::min(sorted + step, candidates.size());
    const auto from = candidates.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto to = candidates.begin() + static_cast<std::ptrdiff_t>(end);
    if (to != candidates.end())
      std::nth_element(from, to, candidates.end(), precedes);
    std::sort(from, to, precedes);
    for (; kept < end; ++kept) {
      if (kept > 0 && reached >= needed) {
        candidates.resize(kept);
        return reached;
      }
      reached += candidates[kept].weight;
    }
    sorted = end;
  }
  return reached;
}

int32_t Sampler::drawCandidate(double sum) {
  if (candidates.size() == 1)
    return candidates.front().id;
  double left = random.nextUnit() * sum;
  for (const Candidate &candidate : candidates) {
    left -= candidate.weight;
    if (left < 0)
      return candidate.id;
  }
  return candidates.back().id;
}

Result<int32_t> Sampler::sample(std::span<const float> logits) {
  Result<double> sum = process(logits);
  if (!sum)
    return sum.error();
  return drawCandidate(*sum);
}

Result<Distribution> Sampler::distribution(std::span<const float> logits) {
  Result<double> sum = process(logits);
  if (!sum)
    return sum.error();
  Distribution distribution;
  for (const Candidate &candidate : candidates)
    distribution.choices.push_back({candidate.id, candidate.weight / *sum});
  std::sort(distribution.choices.begin(), distribution.choices.end(),
            [](const auto &a, const auto &b) { return a.id < b.id; });
  return distribution;
}

double Distribution::of(int32_t id) const {
  const auto found = std::lower_bound(
      choices.begin(), choices.end(), id,
      [](const Choice &choice, int32_t wanted) { return choice.id < wanted; });
  return found != choices.end() && found->id == id ? found->probability : 0;
}

int32_t Sampler::draw(const Distribution &distribution) {
  candidates.clear();
  double sum = 0;
  for (const Distribution::Choice &choice : distribution.choices) {
    candidates.push_back({choice.probability, 0, choice.id});
    sum += choice.probability;
  }
  return drawCandidate(sum);
}

Result<int32_t> Sampler::sample(std::span<const float> logits, int32_t guess,
                                const Distribution &drawn) {
  Result<Distribution> wanted = distribution(logits);
  if (!wanted)
    return wanted.error();
  const double likely = wanted->of(guess);
  if (likely > 0 && random.nextUnit() * drawn.of(guess) < likely)
    return guess;
  Distribution rest;
  for (const Distribution::Choice &choice : wanted->choices)
    if (const double more = choice.probability - drawn.of(choice.id); more > 0)
      rest.choices.push_back({choice.id, more});
  // Nothing is left where both differ by rounding alone.
  return draw(rest.choices.empty() ? *wanted : rest);
}

double negativeLogLikelihood(std::span<const float> logits, int32_t target) {
  const auto largest =
      static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (float logit : logits) {
    if (std::isnan(logit))
      return NAN;
    sum += expNonPositive(static_cast<double>(logit) - largest);
  }
  return std::log(sum) + largest -
         static_cast<double>(logits[static_cast<size_t>(target)]);
}

} // namespace sputnik::rt
