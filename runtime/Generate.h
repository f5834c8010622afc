//===- Generate.h - Continues a text token by token -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_GENERATE_H
#define SPUTNIK_RUNTIME_GENERATE_H

#include "runtime/Drafter.h"
#include "runtime/Sampler.h"
#include "runtime/Session.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace sputnik::rt {

struct GenerateOptions {
  /// Most tokens to generate; negative: as many as the context holds.
  int64_t maxTokens = -1;
  /// Generation ends at any of these.
  std::vector<int32_t> stopIds;
};

/// Why generation ended.
enum class StopReason { EndOfText, TokenLimit, ContextFull, Interrupted };

/// How a generation went.
struct Generation {
  StopReason reason = StopReason::TokenLimit;
  int64_t tokens = 0;  ///< Generated.
  int64_t steps = 0;   ///< Steps that gave them, the prompt's last among them.
  int64_t guesses = 0; ///< Checked.
  int64_t right = 0;   ///< Guesses that were accepted.

  double tokensPerStep() const {
    return steps ? static_cast<double>(tokens) / static_cast<double>(steps) : 0;
  }
};

/// Called with each token as soon as it is known, the stop token among them.
using TokenSink = std::function<Status(int32_t id)>;

/// Feeds `prompt`, of at least one token, to `session` and continues it.
///
/// Guesses of `drafter`, if there is one, are checked several in a step. Every
/// token has the distribution that the sampler gives it without guesses. With
/// guesses that are not drawn at random it is even the token that the same seed
/// gives: it is sampled as ever, and the guess counts if it is that. A guess
/// that was drawn is accepted or replaced as Sampler::sample says; at
/// temperature 0 that is the same again.
///
/// Without a drafter, a device that samples tokens itself decodes some steps ahead;
/// it draws the same tokens.
///
/// The last token generated is not fed, so it may lie just beyond the context.
/// However generation ends, `session` then holds no guess that was not accepted.
Result<Generation> generate(Session &session, Sampler &sampler,
                            std::span<const int32_t> prompt,
                            const GenerateOptions &options,
                            const TokenSink &sink, Drafter *drafter = nullptr);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_GENERATE_H
