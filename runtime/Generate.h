//===- Generate.h - Continues a text token by token -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_GENERATE_H
#define SPUTNIK_RUNTIME_GENERATE_H

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

/// Called with each token as soon as it is known, the stop token among them.
using TokenSink = std::function<Status(int32_t id)>;

/// Feeds `prompt`, of at least one token, to `session` and continues it. The
/// last token generated is not fed, so it may lie just beyond the context.
Result<StopReason> generate(Session &session, Sampler &sampler,
                            std::span<const int32_t> prompt,
                            const GenerateOptions &options,
                            const TokenSink &sink);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_GENERATE_H
