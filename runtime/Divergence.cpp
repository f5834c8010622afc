//===- Divergence.cpp - How far two predictions are apart -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Divergence.h"
#include "runtime/Exponential.h"

#include <algorithm>
#include <cmath>

namespace sputnik::rt {

namespace {
/// What turns logits into log-probabilities.
struct Normaliser {
  size_t top;    ///< The likeliest token.
  double offset; ///< log of the sum of exp(logit).
};
} // namespace

static Normaliser normalise(std::span<const float> logits) {
  const auto top = std::max_element(logits.begin(), logits.end());
  const auto largest = static_cast<double>(*top);
  double sum = 0;
  for (float logit : logits)
    sum += std::isnan(logit)
               ? NAN
               : expNonPositive(static_cast<double>(logit) - largest);
  return {static_cast<size_t>(top - logits.begin()), largest + std::log(sum)};
}

Divergence divergence(std::span<const float> reference,
                      std::span<const float> logits) {
  const Normaliser p = normalise(reference), q = normalise(logits);
  if (std::isnan(p.offset) || std::isnan(q.offset))
    return {NAN, false};
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    // Never above 0 but for rounding.
    const double logP =
        std::min(static_cast<double>(reference[i]) - p.offset, 0.0);
    const double logQ = static_cast<double>(logits[i]) - q.offset;
    if (const double probability = expNonPositive(logP); probability > 0)
      sum += probability * (logP - logQ);
  }
  // Equal distributions give what rounding leaves.
  return {std::max(sum, 0.0), p.top == q.top};
}

DivergenceSummary summarize(std::span<const Divergence> divergences) {
  std::vector<double> sorted;
  double sum = 0, agreed = 0;
  for (const Divergence &divergence : divergences) {
    sorted.push_back(divergence.nats);
    sum += divergence.nats;
    agreed += divergence.sameTop;
  }
  std::sort(sorted.begin(), sorted.end());
  const size_t count = sorted.size();
  const auto all = static_cast<double>(count);
  return {.mean = sum / all,
          .median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2,
          .p99 = sorted[(count * 99 + 99) / 100 - 1],
          .topAgreement = agreed / all};
}

} // namespace sputnik::rt
