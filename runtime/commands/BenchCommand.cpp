//===- BenchCommand.cpp - Speed, and the machine's bounds beside it -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each round measures a prefill, a decode and both bounds one after the other,
// so that a machine that slows down slows all of them; fractions are of one round,
// and what is told is the median over the rounds. Rounds begin after a warm-up that brings the weights
// into memory. Prompts are random ids; decoding takes the likeliest token, so
// its time includes what picking a token costs.
//
//===----------------------------------------------------------------------===//
#include "runtime/Clock.h"
#include "runtime/Files.h"
#include "runtime/Generate.h"
#include "runtime/MachineProbe.h"
#include "runtime/Profile.h"
#include "runtime/Random.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/DraftChoice.h"
#include "runtime/commands/Prompt.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace sputnik::rt {

/// What the first token is waited for: about a short question with its markers.
static constexpr int64_t startupTokens = 8;

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle]
                           : (values[middle - 1] + values[middle]) / 2;
}

/// Anonymous memory of this process that is in use now, in bytes.
static std::optional<uint64_t> residentAnonymousBytes() {
  FILE *file = std::fopen("/proc/self/status", "re");
  if (!file)
    return std::nullopt;
  std::optional<uint64_t> bytes;
  char line[256];
  unsigned long long kilobytes;
  while (!bytes && std::fgets(line, sizeof(line), file))
    if (std::sscanf(line, "RssAnon: %llu kB", &kilobytes) == 1)
      bytes = kilobytes * 1024;
  std::fclose(file);
  return bytes;
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
struct Lengths {
  int64_t prompt, gen, context;
};

/// The measured quantities, one value for each round.
struct Rounds {
  std::vector<double> prefillSeconds, decodeSeconds, readBytesPerSecond,
      dotOperationsPerSecond;
  Generation decoded; ///< The last decode; all give the same tokens.
};

class Bench {
public:
  static constexpr int64_t slots = 2;

  Bench(Engine &engine, int64_t idCount, const Lengths &lengths)
      : lengths(lengths), reader(engine, 0), writer(engine, 1),
        sampler({.temperature = 0}, idCount),
        logits(static_cast<size_t>(engine.model().vocabSize)) {
    const int64_t count =
        std::max({lengths.prompt, lengths.context, startupTokens});
    Random random(1);
    for (int64_t i = 0; i < count; ++i)
      ids.push_back(static_cast<int32_t>(
          random.next() %
          static_cast<uint64_t>(std::max<int64_t>(idCount, 1))));
  }

  /// Decodes with the drafter that `choice`, a value of --draft, names.
  Status useDrafter(const std::string &choice) {
    Result<std::unique_ptr<Drafter>> made =
        makeDrafter(choice, writer, sampler);
    if (!made)
      return made.error();
    drafter = std::move(*made);
    return {};
  }

  /// Reads `count` tokens into an empty cache, and picks the next.
  Status prefill(int64_t count) {
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

  /// Fills the cache to where decoding begins, and decodes one token.
  Status warmUp() {
    if (Status status = writer.feed(
            std::span(ids).first(static_cast<size_t>(lengths.context)), {});
        !status)
      return status;
    Result<Generation> generation = decode(1);
    return generation ? Status() : generation.error();
  }

  Status round(const MachineProbe &probe, Rounds &rounds) {
    const auto seconds = [](uint64_t start) {
      return static_cast<double>(monotonicNanoseconds() - start) * 1e-9;
    };
    uint64_t start = monotonicNanoseconds();
    if (Status status = prefill(lengths.prompt); !status)
      return status;
    rounds.prefillSeconds.push_back(seconds(start));
    rounds.dotOperationsPerSecond.push_back(probe.dotOperationsPerSecond());
    writer.truncate(lengths.context);
    const double before = probe.readBytesPerSecond();
    start = monotonicNanoseconds();
    Result<Generation> generation = decode(lengths.gen);
    if (!generation)
      return generation.error();
    rounds.decodeSeconds.push_back(seconds(start));
    rounds.decoded = *generation;
    // Memory may change its speed in between.
    rounds.readBytesPerSecond.push_back((before + probe.readBytesPerSecond()) /
                                        2);
    return {};
  }

private:
  /// Continues what was prefilled.
  Result<Generation> decode(int64_t count) {
    return generate(
        writer, sampler, std::span(&picked, 1), {count, {}},
        [](int32_t) { return Status(); }, drafter.get());
  }

  const Lengths lengths;
  // Apart, so that a long context is filled only once.
  Session reader, writer;
  Sampler sampler;
  std::unique_ptr<Drafter> drafter;
  std::vector<float> logits;
  std::vector<int32_t> ids;
  int32_t picked = 0;
};
} // namespace

static Result<Lengths> lengthsOf(const abi::Model &model,
                                 const BenchOptions &options) {
  const int64_t context = model.maxContext;
  const Lengths lengths = {
      options.prompt.value_or(std::min<int64_t>(512, context)),
      options.gen.value_or(
          std::clamp<int64_t>(context - options.context, 1, 64)),
      options.context};
  if (lengths.prompt > context)
    return SPUTNIK_ERROR("--prompt is %lld, the context holds %lld tokens",
                         static_cast<long long>(lengths.prompt),
                         static_cast<long long>(context));
  if (lengths.context > context || lengths.gen > context - lengths.context)
    return SPUTNIK_ERROR("--context %lld and --gen %lld are more than the %lld "
                         "tokens of the context",
                         static_cast<long long>(lengths.context),
                         static_cast<long long>(lengths.gen),
                         static_cast<long long>(context));
  return lengths;
}

Status benchCommand(const Program &program, const BenchOptions &options) {
  if (program.model.accelerator)
    return Error{"bench: the bounds that are measured are those of a CPU; this "
                 "executable is for a GPU"};
  const abi::Model &model = program.model;
  Result<Lengths> lengths = lengthsOf(model, options);
  if (!lengths)
    return lengths.error();
  std::optional<Tokenizer> tokenizer;
  if (model.tokenizerBytes > 0) {
    Result<Tokenizer> opened = openTokenizer(model);
    if (!opened)
      return opened.error();
    tokenizer = *opened;
  }
  Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, options.threads, Bench::slots);
  if (!engine)
    return engine.error();
  std::optional<Profile> profile;
  if (options.profile) {
    Result<Profile> created = Profile::create(model, (*engine)->pool().size());
    if (!created)
      return created.error();
    profile.emplace(std::move(*created));
  }
  Bench bench(**engine, sampledIds(model, tokenizer), *lengths);
  const std::string draft = options.draft.value_or(defaultDraft(model));
  if (Status status = bench.useDrafter(draft); !status)
    return status;

  if (Status status = bench.prefill(std::min(startupTokens, model.maxContext));
      !status)
    return status;
  const double startupMilliseconds =
      static_cast<double>(monotonicNanoseconds() - program.startNanoseconds) *
      1e-6;

  if (Status status = bench.prefill(lengths->prompt); !status)
    return status;
  if (Status status = bench.warmUp(); !status)
    return status;
  // The memory of the bandwidth measurement is not the model's.
  const std::optional<uint64_t> anonymousBytes = residentAnonymousBytes();

  Result<MachineProbe> probe = MachineProbe::create(
      model, (*engine)->pool(), (*engine)->weights(), model.weightBytes);
  if (!probe)
    return probe.error();
  probe->readBytesPerSecond();
  Rounds rounds;
  if (profile)
    (*engine)->setProfile(profile->threads());
  for (int64_t i = 0; i < options.repeat; ++i)
    if (Status status = bench.round(*probe, rounds); !status)
      return status;
  if (profile)
    if (Status status = profile->writeTrace(*options.profile); !status)
      return status;

  const auto prompt = static_cast<double>(lengths->prompt);
  const double prefillSeconds = median(rounds.prefillSeconds);
  const double decodeRate =
      static_cast<double>(lengths->gen) / median(rounds.decodeSeconds);
  const double readRate = median(rounds.readBytesPerSecond);
  const double dotRate = median(rounds.dotOperationsPerSecond);
  const double prefillOperations =
      2 * (static_cast<double>(model.macsPerToken - model.headMacs) * prompt +
           static_cast<double>(model.headMacs));
  const double decodeFraction = medianRatio(
      static_cast<double>(model.weightBytesPerToken) *
          static_cast<double>(lengths->gen),
      rounds.decodeSeconds, rounds.readBytesPerSecond);
  // Of the cache, which the fraction leaves out, a token reads on average:
  const double cacheBytes = static_cast<double>(model.cacheBytesPerToken) *
                            (static_cast<double>(lengths->context) +
                             static_cast<double>(lengths->gen + 1) / 2);
  const double prefillFraction =
      medianRatio(prefillOperations, rounds.prefillSeconds,
                  rounds.dotOperationsPerSecond);

  if (options.json) {
    nlohmann::ordered_json result = {
        {"prefill_tok_s", prompt / prefillSeconds},
        {"decode_tok_s", decodeRate},
        {"read_gb_s", readRate * 1e-9},
        {"weight_bytes_per_token", model.weightBytesPerToken},
        {"decode_fraction", decodeFraction},
        {"peak_tops", dotRate * 1e-12},
        {"prefill_fraction", prefillFraction},
        {"startup_ms", startupMilliseconds},
        {"rss_anon_bytes", nullptr},
        {"cache_bytes_per_token", cacheBytes},
        {"threads", (*engine)->pool().size()},
        {"prompt", lengths->prompt},
        {"gen", lengths->gen},
        {"context", lengths->context},
        {"repeat", options.repeat},
        {"draft", draft},
        {"tokens_per_step", rounds.decoded.tokensPerStep()},
    };
    if (anonymousBytes)
      result["rss_anon_bytes"] = *anonymousBytes;
    return print(result.dump() + "\n");
  }
  std::string text = format(
      "threads: %lld\n"
      "prefill of %lld tokens: %.1f tokens/s, %.1f%% of the %.3f TOPS of the "
      "dot instruction\n"
      "decode of %lld tokens at context %lld: %.2f tokens/s, %.1f%% of the "
      "%.1f GB/s of memory\n"
      "weight bytes per token: %llu, cache bytes per token: %.0f\n"
      "start to first token: %.0f ms\n",
      static_cast<long long>((*engine)->pool().size()),
      static_cast<long long>(lengths->prompt), prompt / prefillSeconds,
      prefillFraction * 100, dotRate * 1e-12,
      static_cast<long long>(lengths->gen),
      static_cast<long long>(lengths->context), decodeRate,
      decodeFraction * 100, readRate * 1e-9,
      static_cast<unsigned long long>(model.weightBytesPerToken), cacheBytes,
      startupMilliseconds);
  if (draft != noDrafts)
    text += format("tokens per step: %.2f\n", rounds.decoded.tokensPerStep());
  if (anonymousBytes)
    text += format("anonymous memory: %.1f MB\n",
                   static_cast<double>(*anonymousBytes) * 1e-6);
  if (profile)
    text += profile->table();
  return print(text);
}

} // namespace sputnik::rt
