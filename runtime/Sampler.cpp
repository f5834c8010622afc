//===- Sampler.cpp - Picks the next token from a row of logits ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Sampler.h"
#include "runtime/Exponential.h"

#include <algorithm>
#include <cmath>

namespace sputnik::rt {

Sampler::Sampler(const SamplingOptions &options, int64_t idCount)
    : options(options), idCount(idCount), random(options.seed) {}

bool Sampler::precedes(const Candidate &a, const Candidate &b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

Error Sampler::notANumber(int64_t id) {
  return SPUTNIK_ERROR("the model's logit of token %lld is not a number",
                       static_cast<long long>(id));
}

Error Sampler::infinite(bool positive) {
  return SPUTNIK_ERROR("the model's largest logit is %s, expected a number",
                       positive ? "infinite" : "minus infinity");
}

Result<uint64_t> Sampler::process(std::span<const float> logits) {
  logits = logits.first(std::min(
      logits.size(), static_cast<size_t>(std::max<int64_t>(idCount, 0))));
  const LargestLogit largest = findLargest(logits);
  if (largest.hasNaN) {
    const auto isNaN = [](float logit) { return std::isnan(logit); };
    return notANumber(std::find_if(logits.begin(), logits.end(), isNaN) -
                      logits.begin());
  }
  if (!std::isfinite(largest.value))
    return infinite(largest.value > 0);
  if (options.temperature <= 0) {
    candidates.assign(1, {1, largest.value, largest.id});
    return uint64_t(1);
  }

  weights.weigh(logits, largest.value, options.temperature);
  uint64_t sum = weights.sum(), floor = 1;
  const auto reaching = [&] {
    return static_cast<uint64_t>(std::max(options.topP, 0.0) *
                                 static_cast<double>(sum));
  };
  const bool takesFew = options.topK > 0 &&
                        static_cast<size_t>(options.topK) < weights.count();
  // All tokens below this weight have less than 1 - p together, so that the
  // others reach p without them.
  if (!takesFew && options.topP < 1)
    floor = std::max<uint64_t>(
        (sum - reaching()) / (2 * weights.count()), 1);
  candidates.clear();
  weights.forHeavy(floor, [&](int32_t id, uint64_t weight) {
    candidates.push_back({weight, logits[static_cast<size_t>(id)], id});
  });
  if (takesFew) {
    std::nth_element(candidates.begin(), candidates.begin() + options.topK - 1,
                     candidates.end(), precedes);
    candidates.resize(static_cast<size_t>(options.topK));
    sum = 0;
    for (const Candidate &candidate : candidates)
      sum += candidate.weight;
  }
  if (options.topP >= 1)
    return sum;
  const Reached kept = reach(std::max<uint64_t>(reaching(), 1) - 1);
  candidates.resize(kept.count);
  return kept.weight;
}

Sampler::Reached Sampler::reach(uint64_t target) {
  Reached reached = {0, 0};
  for (size_t step = 64; reached.count < candidates.size(); step *= 4) {
    const size_t end = std::min(reached.count + step, candidates.size());
    const auto from =
        candidates.begin() + static_cast<std::ptrdiff_t>(reached.count);
    const auto to = candidates.begin() + static_cast<std::ptrdiff_t>(end);
    if (to != candidates.end())
      std::nth_element(from, to, candidates.end(), precedes);
    std::sort(from, to, precedes);
    while (reached.count < end) {
      reached.weight += candidates[reached.count++].weight;
      if (reached.weight > target)
        return reached;
    }
  }
  return reached;
}

Result<int32_t> Sampler::sample(std::span<const float> logits) {
  Result<uint64_t> sum = process(logits);
  if (!sum)
    return sum.error();
  if (candidates.size() == 1)
    return candidates.front().id;
  // A whole number below the sum, of which each is as likely.
  const auto drawn = static_cast<uint64_t>(
      static_cast<unsigned __int128>(random.next()) * *sum >> 64);
  return candidates[reach(drawn).count - 1].id;
}

Result<Distribution> Sampler::distribution(std::span<const float> logits) {
  Result<uint64_t> sum = process(logits);
  if (!sum)
    return sum.error();
  Distribution distribution;
  for (const Candidate &candidate : candidates)
    distribution.choices.push_back(
        {candidate.id, static_cast<double>(candidate.weight) /
                           static_cast<double>(*sum)});
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
  const std::vector<Distribution::Choice> &choices = distribution.choices;
  if (choices.size() == 1)
    return choices.front().id;
  double sum = 0;
  for (const Distribution::Choice &choice : choices)
    sum += choice.probability;
  double left = random.nextUnit() * sum;
  for (const Distribution::Choice &choice : choices) {
    left -= choice.probability;
    if (left < 0)
      return choice.id;
  }
  return choices.back().id;
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
