//===- Divergence.h - How far two predictions are apart ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_DIVERGENCE_H
#define SPUTNIK_RUNTIME_DIVERGENCE_H

#include <span>
#include <vector>

namespace sputnik::rt {

/// The next-token distribution q of some logits against p of a reference.
struct Divergence {
  /// Kullback-Leibler divergence of q from p: the sum of p * log(p / q), in
  /// nats. NaN if a logit is NaN.
  double nats;
  /// Whether both find the same token likeliest.
  bool sameTop;
};

/// Compares rows of logits of the same, positive length.
Divergence divergence(std::span<const float> reference,
                      std::span<const float> logits);

/// Divergences of many positions in a few figures.
struct DivergenceSummary {
  double mean, median;
  double p99;          ///< The least value that 99 % do not exceed.
  double topAgreement; ///< The fraction with the same likeliest token.
};

/// Sums up at least one divergence.
DivergenceSummary summarize(std::span<const Divergence> divergences);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_DIVERGENCE_H
