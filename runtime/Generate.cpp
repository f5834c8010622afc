//===- Generate.cpp - Continues a text token by token ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Generate.h"
#include "runtime/Interrupt.h"

#include <algorithm>

namespace sputnik::rt {

namespace {
/// One generation under way.
class Generator {
public:
  Generator(Session &session, Sampler &sampler, const GenerateOptions &options,
            const TokenSink &sink, Drafter *drafter)
      : session(session), sampler(sampler), options(options), sink(sink),
        drafter(drafter), model(session.engine().model()),
        vocabSize(static_cast<size_t>(model.vocabSize)),
        logits(vocabSize *
               static_cast<size_t>(drafter ? model.verify.maxRows : 1)) {}

  Result<Generation> run(std::span<const int32_t> prompt);

private:
  /// Why generation ends, if it does.
  using End = std::optional<StopReason>;

  /// Feeds `tokens`, which follow the session's, and `guesses` after them, and
  /// takes tokens up to the first that was not guessed; it becomes `last`.
  Result<End> step(std::span<const int32_t> tokens,
                   std::span<const int32_t> guesses);
  /// Takes the token that the logits of `row` give; it becomes `last`.
  Result<End> take(size_t row);
  /// Guesses what follows `last`, as far as it can be of use.
  std::vector<int32_t> guess() const;

  Session &session;
  Sampler &sampler;
  const GenerateOptions &options;
  const TokenSink &sink;
  Drafter *const drafter;
  const abi::Model &model;
  const size_t vocabSize;
  std::vector<float> logits;
  int32_t last = 0;
  Generation generation;
};
} // namespace

std::vector<int32_t> Generator::guess() const {
  if (!drafter)
    return {};
  int64_t most = std::min(model.verify.maxRows, session.room()) - 1;
  if (options.maxTokens >= 0)
    most = std::min(most, options.maxTokens - generation.tokens - 1);
  return drafter->guess(static_cast<size_t>(most));
}

Result<Generator::End> Generator::take(size_t row) {
  Result<int32_t> sampled =
      sampler.sample(std::span(logits).subspan(row * vocabSize, vocabSize));
  if (!sampled)
    return sampled.error();
  last = *sampled;
  ++generation.tokens;
  if (drafter)
    drafter->append(last);
  if (Status status = sink(last); !status)
    return status.error();
  if (std::find(options.stopIds.begin(), options.stopIds.end(), last) !=
      options.stopIds.end())
    return End(StopReason::EndOfText);
  if (generation.tokens == options.maxTokens)
    return End(StopReason::TokenLimit);
  return End();
}

Result<Generator::End> Generator::step(std::span<const int32_t> tokens,
                                       std::span<const int32_t> guesses) {
  const int64_t known = session.length() + static_cast<int64_t>(tokens.size());
  std::vector<int32_t> rows(tokens.begin(), tokens.end());
  rows.insert(rows.end(), guesses.begin(), guesses.end());
  if (Status status = session.feed(
          rows, std::span(logits).first((guesses.size() + 1) * vocabSize));
      !status)
    return status.error();
  if (interruptRequested()) {
    session.truncate(known);
    return End(StopReason::Interrupted);
  }
  ++generation.steps;
  generation.guesses += static_cast<int64_t>(guesses.size());
  size_t row = 0;
  Result<End> end = take(row);
  for (; end && row < guesses.size() && last == guesses[row]; end = take(row)) {
    ++generation.right;
    if (*end)
      break;
    ++row;
  }
  session.truncate(known + static_cast<int64_t>(row));
  if (end && !*end && session.room() == 0)
    return End(StopReason::ContextFull);
  return end;
}

Result<Generation> Generator::run(std::span<const int32_t> prompt) {
  if (drafter) {
    std::vector<int32_t> text = session.tokens();
    text.insert(text.end(), prompt.begin(), prompt.end());
    drafter->begin(text);
  }
  Result<End> end = step(prompt, {});
  while (end && !*end) {
    const int32_t token = last;
    end = step(std::span(&token, 1), guess());
  }
  if (!end)
    return end.error();
  generation.reason = **end;
  return generation;
}

Result<Generation> generate(Session &session, Sampler &sampler,
                            std::span<const int32_t> prompt,
                            const GenerateOptions &options,
                            const TokenSink &sink, Drafter *drafter) {
  if (prompt.empty())
    return Error{"the prompt is empty: there is nothing to continue"};
  if (static_cast<int64_t>(prompt.size()) > session.room())
    return SPUTNIK_ERROR(
        "the prompt has %lld tokens, the context holds %lld",
        static_cast<long long>(session.length()) +
            static_cast<long long>(prompt.size()),
        static_cast<long long>(session.engine().model().maxContext));
  if (options.maxTokens == 0)
    return Generation{};
  return Generator(session, sampler, options, sink, drafter).run(prompt);
}

} // namespace sputnik::rt
