//===- BenchCommand.cpp - Speed, and the machine's bounds beside it -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each round measures a prefill, a decode and both bounds one after the other,
// so that a machine that slows down slows all of them; fractions are of one round,
// and what is told is the median over the rounds. Rounds begin after a warm-up
// that brings the weights into memory. Prompts are random ids, or a text; decoding
// takes the likeliest token, so its time includes what picking a token costs. With a
// drafter it is measured without one in the same rounds too.
//
//===----------------------------------------------------------------------===//
#include "runtime/Clock.h"
#include "runtime/Files.h"
#include "runtime/Generate.h"
#include "runtime/Memory.h"
#include "runtime/Profile.h"
#include "runtime/RegionRates.h"
#include "runtime/commands/BenchTokens.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/DraftChoice.h"
#include "runtime/commands/Limits.h"
#include "runtime/commands/Prompt.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sputnik::rt {

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle]
                           : (values[middle - 1] + values[middle]) / 2;
}

/// The median of a / b in each round; 0 without rounds.
static double medianQuotient(const std::vector<double> &a,
                             const std::vector<double> &b) {
  std::vector<double> quotients;
  for (size_t i = 0; i < a.size(); ++i)
    quotients.push_back(a[i] / b[i]);
  return a.empty() ? 0 : median(std::move(quotients));
}

/// The median of a / (b * c) in each round.
static double medianRatio(double a, const std::vector<double> &b,
                          const std::vector<double> &c) {
  std::vector<double> ratios;
  for (size_t i = 0; i < b.size(); ++i)
    ratios.push_back(a / (b[i] * c[i]));
  return median(std::move(ratios));
}

namespace {
/// The measured quantities, one value for each round.
struct Rounds {
  std::vector<double> prefillSeconds, decodeSeconds, readBytesPerSecond,
      dotOperationsPerSecond;
  std::vector<double> copyBytesPerSecond; ///< 0 for cores.
  /// Of decoding the same without guesses; empty without a drafter.
  std::vector<double> plainSeconds;
  Generation decoded; ///< The last decode; all give the same tokens.
};

class Bench {
public:
  static constexpr int64_t slots = 2;

  Bench(Engine &engine, int64_t idCount, const BenchTokens &tokens)
      : lengths(tokens.lengths), ids(tokens.ids), reader(engine, 0),
        writer(engine, 1), sampler({.temperature = 0}, idCount),
        logits(static_cast<size_t>(engine.model().vocabSize)) {}

  /// Decodes with the drafter that `choice`, a value of --draft, names.
  Status useDrafter(const std::string &choice) {
    Result<std::unique_ptr<Drafter>> made =
        makeDrafter(choice, writer, sampler);
    if (!made)
      return made.error();
    drafter = std::move(*made);
    return {};
  }

  /// Reads `count` tokens, or all if there are fewer, into an empty cache, and
  /// picks the next.
  Status prefill(int64_t count) {
    count = std::min(count, static_cast<int64_t>(ids.size()));
    reader.truncate(0);
    if (Status status = reader.feed(
            std::span(ids).first(static_cast<size_t>(count)), logits);
        !status)
      return status;
    Result<int32_t> id = sampler.sample(logits);
    if (!id)
      return id.error();
    picked = *id;
    return {};
  }

  /// Touches what rounds touch: a prefill, a cache that is filled to where decoding
  /// begins, one token.
  Status warmUp() {
    if (Status status = prefill(lengths.prompt); !status)
      return status;
    if (Status status = writer.feed(
            std::span(ids).first(static_cast<size_t>(lengths.context)), {});
        !status)
      return status;
    Result<Generation> generation = decode(1, drafter.get());
    return generation ? Status() : generation.error();
  }

  Status round(const Limits &limits, Rounds &rounds) {
    const auto seconds = [](uint64_t start) {
      return static_cast<double>(monotonicNanoseconds() - start) * 1e-9;
    };
    uint64_t start = monotonicNanoseconds();
    if (Status status = prefill(lengths.prompt); !status)
      return status;
    rounds.prefillSeconds.push_back(seconds(start));
    const Result<double> operations = limits.dotOperationsPerSecond();
    if (!operations)
      return operations.error();
    rounds.dotOperationsPerSecond.push_back(*operations);
    writer.truncate(lengths.context);
    const Result<double> before = limits.readBytesPerSecond();
    if (!before)
      return before.error();
    start = monotonicNanoseconds();
    Result<Generation> generation = decode(lengths.gen, drafter.get());
    if (!generation)
      return generation.error();
    rounds.decodeSeconds.push_back(seconds(start));
    rounds.decoded = *generation;
    // Memory may change its speed in between.
    const Result<double> after = limits.readBytesPerSecond();
    if (!after)
      return after.error();
    rounds.readBytesPerSecond.push_back((*before + *after) / 2);
    if (drafter) {
      writer.truncate(lengths.context);
      start = monotonicNanoseconds();
      if (Result<Generation> plain = decode(lengths.gen, nullptr); !plain)
        return plain.error();
      rounds.plainSeconds.push_back(seconds(start));
    }
    const Result<double> copy = limits.copyBytesPerSecond();
    if (!copy)
      return copy.error();
    rounds.copyBytesPerSecond.push_back(*copy);
    return {};
  }

  /// What a round runs, for a profile.
  Status runOnce() {
    if (Status status = prefill(lengths.prompt); !status)
      return status;
    writer.truncate(lengths.context);
    Result<Generation> generation = decode(lengths.gen, drafter.get());
    return generation ? Status() : generation.error();
  }

private:
  /// Continues what was prefilled.
  Result<Generation> decode(int64_t count, Drafter *guesser) {
    return generate(
        writer, sampler, std::span(&picked, 1), {count, {}},
        [](int32_t) { return Status(); }, guesser);
  }

  const Lengths lengths;
  const std::vector<int32_t> ids;
  // Apart, so that a long context is filled only once.
  Session reader, writer;
  Sampler sampler;
  std::unique_ptr<Drafter> drafter;
  std::vector<float> logits;
  int32_t picked = 0;
};
} // namespace

/// What is told of the rounds: medians.
struct Figures {
  double prefillRate, decodeRate; ///< Tokens a second.
  double readRate, copyRate;      ///< Bytes a second.
  double dotRate;                 ///< Operations a second.
  double decodeFraction;          ///< Of readRate, by reading weights.
  double decodeCopyFraction;      ///< Of copyRate; 0 if that is not known.
  double prefillFraction;         ///< Of dotRate.
  double plainDecodeRate; ///< Tokens a second without guesses, 0 if not measured.
  double draftSpeedup;    ///< How many times as fast it is with guesses.
  double cacheBytes; ///< What a token reads of the cache on average; no
                     ///< fraction counts it.
};

static Figures figuresOf(const abi::Model &model, const Lengths &lengths,
                         const Rounds &rounds) {
  const auto prompt = static_cast<double>(lengths.prompt);
  const auto gen = static_cast<double>(lengths.gen);
  const double prefillOperations =
      2 * (static_cast<double>(model.macsPerToken - model.headMacs) * prompt +
           static_cast<double>(model.headMacs));
  const double decodeBytes =
      static_cast<double>(model.weightBytesPerToken) * gen;
  const double copyRate = median(rounds.copyBytesPerSecond);
  return {
      .prefillRate = prompt / median(rounds.prefillSeconds),
      .decodeRate = gen / median(rounds.decodeSeconds),
      .readRate = median(rounds.readBytesPerSecond),
      .copyRate = copyRate,
      .dotRate = median(rounds.dotOperationsPerSecond),
      .decodeFraction = medianRatio(decodeBytes, rounds.decodeSeconds,
                                    rounds.readBytesPerSecond),
      .decodeCopyFraction =
          copyRate > 0 ? medianRatio(decodeBytes, rounds.decodeSeconds,
                                     rounds.copyBytesPerSecond)
                       : 0,
      .prefillFraction = medianRatio(prefillOperations, rounds.prefillSeconds,
                                     rounds.dotOperationsPerSecond),
      .plainDecodeRate = rounds.plainSeconds.empty()
                             ? 0
                             : gen / median(rounds.plainSeconds),
      .draftSpeedup = medianQuotient(rounds.plainSeconds, rounds.decodeSeconds),
      .cacheBytes = static_cast<double>(model.cacheBytesPerToken) *
                    (static_cast<double>(lengths.context) + (gen + 1) / 2),
  };
}

/// What a step of decode works on, on average.
static StepLoad decodeLoad(const Lengths &lengths) {
  return {.rows = 1,
          .positions = static_cast<double>(lengths.context) +
                       static_cast<double>(lengths.gen + 1) / 2};
}

/// The same for prefill, which takes a prompt in steps of as many rows as go.
static StepLoad prefillLoad(const abi::Model &model, const Lengths &lengths) {
  const auto prompt = static_cast<double>(lengths.prompt);
  const int64_t most = model.prefill.maxRows;
  return {.rows = prompt /
                  static_cast<double>((lengths.prompt + most - 1) / most),
          .positions = (prompt + 1) / 2};
}

/// The figures for people.
static std::string describe(const Engine &engine, const Lengths &lengths,
                            const Figures &figures) {
  const char *device = engine.deviceName();
  std::string text =
      device ? format("GPU: %s\n", quotable(device).c_str())
             : format("threads: %lld\n",
                      static_cast<long long>(engine.pool().size()));
  if (engine.weightNodes() > 1)
    text += format("weights on %lld nodes\n",
                   static_cast<long long>(engine.weightNodes()));
  text += format(
      "prefill of %lld tokens: %.1f tokens/s, %.1f%% of the %.3f TOPS of the "
      "%s\n"
      "decode of %lld tokens at context %lld: %.2f tokens/s, %.1f%% of the "
      "%.1f GB/s of memory",
      static_cast<long long>(lengths.prompt), figures.prefillRate,
      figures.prefillFraction * 100, figures.dotRate * 1e-12,
      device ? "tensor cores" : "dot instruction",
      static_cast<long long>(lengths.gen),
      static_cast<long long>(lengths.context), figures.decodeRate,
      figures.decodeFraction * 100, figures.readRate * 1e-9);
  if (device)
    text += format(", %.1f%% of the %.1f GB/s of a copy",
                   figures.decodeCopyFraction * 100, figures.copyRate * 1e-9);
  return text + format("\nweight bytes per token: %llu, cache bytes per token: "
                       "%.0f\n",
                       static_cast<unsigned long long>(
                           engine.model().weightBytesPerToken),
                       figures.cacheBytes);
}

Status benchCommand(const Program &program, const BenchOptions &options) {
  const abi::Model &model = program.model;
  std::optional<Tokenizer> tokenizer;
  if (model.tokenizerBytes > 0 || options.file) {
    Result<Tokenizer> opened = openTokenizer(model);
    if (!opened)
      return opened.error();
    tokenizer = *opened;
  }
  Result<BenchTokens> tokens = chooseTokens(model, options, tokenizer);
  if (!tokens)
    return tokens.error();
  const Lengths &lengths = tokens->lengths;
  Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, options.resources, Bench::slots);
  if (!engine)
    return engine.error();
  std::optional<Profile> profile;
  if (options.profile) {
    Result<Profile> created = Profile::create(
        model, (*engine)->deviceName() ? 1 : (*engine)->pool().size());
    if (!created)
      return created.error();
    profile.emplace(std::move(*created));
  }
  Bench bench(**engine, sampledIds(model, tokenizer), *tokens);
  const std::string draft = options.draft.value_or(defaultDraft(model));
  if (Status status = bench.useDrafter(draft); !status)
    return status;

  if (Status status = bench.prefill(startupTokens); !status)
    return status;
  const double startupMilliseconds =
      static_cast<double>(monotonicNanoseconds() - program.startNanoseconds) *
      1e-6;

  if (Status status = bench.prefill(lengths.prompt); !status)
    return status;
  if (Status status = bench.warmUp(); !status)
    return status;
  // The memory of the bandwidth measurement is not the model's.
  const std::optional<uint64_t> anonymousBytes = residentAnonymousBytes();

  Result<Limits> limits = Limits::create(**engine);
  if (!limits)
    return limits.error();
  if (Result<double> first = limits->readBytesPerSecond(); !first)
    return first.error();
  Rounds rounds;
  for (int64_t i = 0; i < options.repeat; ++i)
    if (Status status = bench.round(*limits, rounds); !status)
      return status;
  std::vector<RegionRate> rates;
  DevicePeaks peaks = {};
  if (profile) {
    (*engine)->setProfile(profile->threads());
    if (Status status = bench.runOnce(); !status)
      return status;
    (*engine)->setProfile(nullptr);
    if (Status status = profile->writeTrace(*options.profile); !status)
      return status;
  }

  const Figures figures = figuresOf(model, lengths, rounds);
  if (profile && (*engine)->deviceName()) {
    const Result<double> launch = limits->launchSeconds();
    if (!launch)
      return launch.error();
    peaks = {figures.readRate, figures.dotRate, *launch};
    rates = rateRegions(*profile, peaks, decodeLoad(lengths),
                        prefillLoad(model, lengths));
  }
  if (options.json) {
    nlohmann::ordered_json result = {
        {"prefill_tok_s", figures.prefillRate},
        {"decode_tok_s", figures.decodeRate},
        {"read_gb_s", figures.readRate * 1e-9},
        {"weight_bytes_per_token", model.weightBytesPerToken},
        {"decode_fraction", figures.decodeFraction},
        {"peak_tops", figures.dotRate * 1e-12},
        {"prefill_fraction", figures.prefillFraction},
        {"startup_ms", startupMilliseconds},
        {"rss_anon_bytes", nullptr},
        {"cache_bytes_per_token", figures.cacheBytes},
        {"threads", (*engine)->pool().size()},
        {"nodes", (*engine)->weightNodes()},
        {"prompt", lengths.prompt},
        {"gen", lengths.gen},
        {"context", lengths.context},
        {"repeat", options.repeat},
        {"draft", draft},
        {"tokens_per_step", rounds.decoded.tokensPerStep()},
    };
    if (draft != noDrafts) {
      result["plain_decode_tok_s"] = figures.plainDecodeRate;
      result["draft_speedup"] = figures.draftSpeedup;
    }
    if (anonymousBytes)
      result["rss_anon_bytes"] = *anonymousBytes;
    if (const char *device = (*engine)->deviceName()) {
      result["device"] = quotable(device);
      result["copy_gb_s"] = figures.copyRate * 1e-9;
      result["decode_copy_fraction"] = figures.decodeCopyFraction;
    }
    for (const RegionRate &rate : rates)
      result["regions"].push_back(
          {{"phase", rate.region->phase},
           {"region", rate.region->name},
           {"runs", rate.runs},
           {"median_us", rate.microseconds},
           {"bytes", rate.bytes},
           {"gb_s", rate.bytesPerSecond * 1e-9},
           {"tops", rate.operationsPerSecond * 1e-12},
           {"fraction", rate.fraction},
           {"time_fraction", rate.part}});
    return print(result.dump() + "\n");
  }
  std::string text = describe(**engine, lengths, figures);
  text += format("start to first token: %.0f ms\n", startupMilliseconds);
  if (draft != noDrafts)
    text += format("tokens per step: %.2f; without guesses %.2f tokens/s, "
                   "with them %.2f times as fast\n",
                   rounds.decoded.tokensPerStep(), figures.plainDecodeRate,
                   figures.draftSpeedup);
  if (anonymousBytes)
    text += format("anonymous memory: %.1f MB\n",
                   static_cast<double>(*anonymousBytes) * 1e-6);
  if (!rates.empty())
    text += tableOf(rates, peaks);
  else if (profile)
    text += profile->table();
  return print(text);
}

} // namespace sputnik::rt
