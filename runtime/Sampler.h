//===- Sampler.h - Picks the next token from a row of logits --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_SAMPLER_H
#define SPUTNIK_RUNTIME_SAMPLER_H

#include "runtime/LogitWeights.h"
#include "runtime/Random.h"
#include "runtime/Result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace sputnik::rt {

/// How to sample. Applied in this order, as Hugging Face transformers does.
struct SamplingOptions {
  /// Divides the logits; 0 always takes the largest.
  double temperature = 0.6;
  /// Keeps the k largest logits; 0 keeps all.
  int64_t topK = 0;
  /// Keeps the fewest tokens whose probabilities reach p together: in
  /// descending order, up to and with the one that crosses.
  double topP = 0.95;
  uint64_t seed = 0;
};

/// Tokens and their probabilities, which sum to 1; the ids ascend.
struct Distribution {
  struct Choice {
    int32_t id;
    double probability;
  };
  std::vector<Choice> choices;

  /// The probability of `id`.
  double of(int32_t id) const;
};

/// Samples tokens. Of equal logits the one with the lower id comes first. The
/// same logits and seed give the same tokens on every platform: weights are whole
/// numbers (abi::kLargestWeight for the largest logit), so that their sums do not
/// depend on the order in which they are made, and a GPU samples the same tokens.
class Sampler {
public:
  /// Only ids below `idCount` are ever sampled.
  Sampler(const SamplingOptions &options, int64_t idCount);

  /// The next token. Fails if a logit is NaN or infinitely large, or if all
  /// are infinitely small.
  Result<int32_t> sample(std::span<const float> logits);

  const SamplingOptions &getOptions() const { return options; }
  int64_t getIdCount() const { return idCount; }
  /// Where the random numbers stand: they go on as another's that was there.
  uint64_t getRandomState() const { return random.getState(); }
  void setRandomState(uint64_t state) { random = Random(state); }

  /// Why `sample` fails: the logit of `id` is NaN; the largest logit is infinite.
  static Error notANumber(int64_t id);
  static Error infinite(bool positive);

  /// What `sample` draws from; one token at temperature 0. Fails as `sample`.
  Result<Distribution> distribution(std::span<const float> logits);
  int32_t draw(const Distribution &distribution);

  /// The next token, given that `guess` was drawn from `drawn`: the guess with
  /// probability min(1, p/q), else a token of max(0, p - q), so that it has the
  /// distribution of `sample` (Leviathan, Kalman and Matias 2023).
  Result<int32_t> sample(std::span<const float> logits, int32_t guess,
                         const Distribution &drawn);

private:
  /// A token and its probability, up to a common factor.
  struct Candidate {
    uint64_t weight;
    float logit;
    int32_t id;
  };
  static bool precedes(const Candidate &a, const Candidate &b);
  /// Leaves in `candidates` what may be drawn; returns the sum of the weights.
  Result<uint64_t> process(std::span<const float> logits);
  /// The first candidates, in their order, that weigh more than `target`
  /// together: how many they are and what they weigh. Sorts no further.
  struct Reached {
    size_t count;
    uint64_t weight;
  };
  Reached reach(uint64_t target);

  const SamplingOptions options;
  const int64_t idCount;
  Random random;
  LogitWeights weights;
  std::vector<Candidate> candidates;
};

/// -log of the probability that softmax gives to `target`; NaN if any logit is.
double negativeLogLikelihood(std::span<const float> logits, int32_t target);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_SAMPLER_H
