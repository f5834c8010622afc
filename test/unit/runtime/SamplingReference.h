//===- SamplingReference.h - Sampling, written out the plain way -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_RUNTIME_SAMPLINGREFERENCE_H
#define SPUTNIK_TEST_UNIT_RUNTIME_SAMPLINGREFERENCE_H

#include "runtime/Sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace sputnik::test {

/// What Hugging Face transformers leaves of the distribution: written out the
/// plain way, with a full sort.
inline std::vector<double>
referenceDistribution(const std::vector<float> &logits,
                      const rt::SamplingOptions &options) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  if (options.topK > 0 && static_cast<size_t>(options.topK) < order.size())
    order.resize(static_cast<size_t>(options.topK));
  std::vector<double> weights(logits.size());
  double sum = 0;
  for (size_t id : order)
    sum += weights[id] =
        std::exp(static_cast<double>(logits[id] - logits[order[0]]) /
                 options.temperature);
  double reached = 0;
  for (size_t id : order) {
    if (id != order[0] && reached >= options.topP * sum)
      weights[id] = 0;
    reached += weights[id];
  }
  for (double &weight : weights)
    weight /= reached;
  return weights;
}

} // namespace sputnik::test

#endif // SPUTNIK_TEST_UNIT_RUNTIME_SAMPLINGREFERENCE_H
