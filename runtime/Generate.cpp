//===- Generate.cpp - Continues a text token by token ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Generate.h"
#include "runtime/Interrupt.h"

#include <algorithm>

namespace sputnik::rt {

Result<StopReason> generate(Session &session, Sampler &sampler,
                            std::span<const int32_t> prompt,
                            const GenerateOptions &options,
                            const TokenSink &sink) {
  if (prompt.empty())
    return Error{"the prompt is empty: there is nothing to continue"};
  if (static_cast<int64_t>(prompt.size()) > session.room())
    return SPUTNIK_ERROR(
        "the prompt has %lld tokens, the context holds %lld",
        static_cast<long long>(session.length()) +
            static_cast<long long>(prompt.size()),
        static_cast<long long>(session.engine().model().maxContext));
  if (options.maxTokens == 0)
    return StopReason::TokenLimit;

  std::vector<float> logits(
      static_cast<size_t>(session.engine().model().vocabSize));
  std::span<const int32_t> next = prompt;
  int32_t id;
  for (int64_t generated = 1;; ++generated) {
    if (Status status = session.feed(next, logits); !status)
      return status.error();
    if (interruptRequested())
      return StopReason::Interrupted;
    Result<int32_t> sampled = sampler.sample(logits);
    if (!sampled)
      return sampled.error();
    id = *sampled;
    if (Status status = sink(id); !status)
      return status.error();
    if (std::find(options.stopIds.begin(), options.stopIds.end(), id) !=
        options.stopIds.end())
      return StopReason::EndOfText;
    if (generated == options.maxTokens)
      return StopReason::TokenLimit;
    if (session.room() == 0)
      return StopReason::ContextFull;
    next = std::span(&id, 1);
  }
}

} // namespace sputnik::rt
