//===- Generate.cpp - Continues a text token by token ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Generate.h"
#include "runtime/Interrupt.h"

#include <algorithm>

namespace sputnik::rt {

/// Steps that a device is ahead: enough for it never to wait while a token is
/// printed, few to be made for nothing where the text ends.
static constexpr int64_t stepsAhead = 4;
static_assert(stepsAhead <= abi::kMaxStepsAhead);

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
                   std::span<const Guess> guesses);
  /// Takes the token that the logits of `row` give, for which `guess` (or null)
  /// was made; it becomes `last`.
  Result<End> take(size_t row, const Guess *guess);
  /// Takes a token that was sampled; it becomes `last`.
  Result<End> accept(int32_t id);
  /// Has the device decode to the end, a few steps ahead of what is accepted
  /// here.
  Result<End> decodeAhead();
  /// Accepts one token of the device, with `underWay` steps on their way.
  Result<End> nextAhead(int64_t &underWay);
  /// Guesses what follows `last`, as far as it can be of use.
  Result<std::vector<Guess>> guess() const;

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

Result<std::vector<Guess>> Generator::guess() const {
  if (!drafter)
    return std::vector<Guess>();
  int64_t most = std::min(model.verify.maxRows, session.room()) - 1;
  if (options.maxTokens >= 0)
    most = std::min(most, options.maxTokens - generation.tokens - 1);
  return drafter->guess(static_cast<size_t>(most));
}

Result<Generator::End> Generator::take(size_t row, const Guess *guess) {
  const auto rowLogits = std::span(logits).subspan(row * vocabSize, vocabSize);
  Result<int32_t> sampled =
      guess && !guess->drawn.choices.empty()
          ? sampler.sample(rowLogits, guess->id, guess->drawn)
          : sampler.sample(rowLogits);
  if (!sampled)
    return sampled.error();
  return accept(*sampled);
}

Result<Generator::End> Generator::accept(int32_t id) {
  last = id;
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
                                       std::span<const Guess> guesses) {
  const int64_t known = session.length() + static_cast<int64_t>(tokens.size());
  std::vector<int32_t> rows(tokens.begin(), tokens.end());
  for (const Guess &guess : guesses)
    rows.push_back(guess.id);
  Session::StepSink stepped;
  if (drafter)
    stepped = [this](int64_t first, int64_t count) {
      return drafter->stepped(first, count);
    };
  Status fed = session.feed(
      rows, std::span(logits).first((guesses.size() + 1) * vocabSize), stepped);
  if (!fed)
    return fed.error();
  if (interruptRequested()) {
    session.truncate(known);
    return End(StopReason::Interrupted);
  }
  ++generation.steps;
  generation.guesses += static_cast<int64_t>(guesses.size());
  size_t row = 0;
  Result<End> end = End();
  while (true) {
    const Guess *guess = row < guesses.size() ? &guesses[row] : nullptr;
    end = take(row, guess);
    const bool right = end && guess && last == guess->id;
    generation.right += right;
    if (!right || *end)
      break;
    ++row;
  }
  session.truncate(known + static_cast<int64_t>(row));
  if (end && !*end && session.room() == 0)
    return End(StopReason::ContextFull);
  return end;
}

Result<Generator::End> Generator::decodeAhead() {
  const SamplingOptions &sampling = sampler.getOptions();
  Engine &engine = session.engine();
  const abi::DecodeStart start = {
      .token = last,
      .slot = session.slotNumber(),
      .position = static_cast<int32_t>(session.length()),
      .sampling = {.temperature = sampling.temperature,
                   .topP = sampling.topP,
                   .topK = sampling.topK,
                   .idCount = std::min(sampler.getIdCount(), model.vocabSize),
                   .random = sampler.getRandomState(),
                   .steps = 0,
                   .ring = nullptr,
                   .ringMask = 0}};
  if (Status status = engine.beginDecoding(start); !status)
    return status.error();
  Result<End> end = End();
  for (int64_t underWay = 0; end && !*end;)
    end = nextAhead(underWay);
  // The rest was sampled for nothing.
  Status finished = engine.endDecoding();
  if (end && !finished)
    return finished.error();
  return end;
}

Result<Generator::End> Generator::nextAhead(int64_t &underWay) {
  if (interruptRequested())
    return End(StopReason::Interrupted);
  Engine &engine = session.engine();
  int64_t wanted = std::min(stepsAhead, session.room());
  if (options.maxTokens >= 0)
    wanted = std::min(wanted, options.maxTokens - generation.tokens);
  for (; underWay < wanted; ++underWay)
    if (Status status = engine.decode(); !status)
      return status.error();
  Result<abi::SampledToken> token = engine.nextToken();
  if (!token)
    return token.error();
  --underWay;
  ++generation.steps;
  session.noteFed(last);
  if (token->status == abi::kNotANumber)
    return Sampler::notANumber(token->id);
  if (token->status != abi::kSampled)
    return Sampler::infinite(token->status == abi::kInfinite);
  sampler.setRandomState(token->random);
  Result<End> end = accept(token->id);
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
  if (end && !*end && !drafter && session.engine().decodesAhead())
    end = decodeAhead();
  while (end && !*end) {
    Result<std::vector<Guess>> guesses = guess();
    if (!guesses)
      return guesses.error();
    const int32_t token = last;
    end = step(std::span(&token, 1), *guesses);
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
