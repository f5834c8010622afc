//===- RunCommand.cpp - Answers a prompt ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"
#include "runtime/Generate.h"
#include "runtime/Interrupt.h"
#include "runtime/chat/ChatTemplate.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/DraftChoice.h"
#include "runtime/commands/Prompt.h"
#include "runtime/commands/TextPrinter.h"

#include <cstdio>

namespace sputnik::rt {

namespace {
struct Prompt {
  std::vector<int32_t> ids;
  bool endsInThinking = false;
};
} // namespace

static Result<Prompt> makePrompt(const abi::Model &model,
                                 const std::optional<Tokenizer> &tokenizer,
                                 const RunOptions &options) {
  if (options.prompt.ids) {
    Result<std::vector<int32_t>> ids =
        readIds(*options.prompt.ids, model.vocabSize);
    if (!ids)
      return ids.error();
    return Prompt{std::move(*ids)};
  }
  Result<std::string> text = readPromptText(options.prompt);
  if (!text)
    return text.error();
  if (options.raw)
    return Prompt{encodePlain(*tokenizer, *text)};
  std::string error;
  const std::optional<ChatTemplate> chat =
      ChatTemplate::open(*tokenizer, error);
  if (!chat)
    return Error{error};
  std::vector<ChatMessage> messages;
  if (!options.system.empty())
    messages.push_back({ChatRole::System, options.system});
  messages.push_back({ChatRole::User, std::move(*text)});
  return Prompt{chat->encode(messages), chat->startsInThinking()};
}

static void printStats(const Generation &generation) {
  std::fprintf(stderr,
               "stats: %lld tokens in %lld steps, %.2f a step; %lld of %lld "
               "guesses were right\n",
               static_cast<long long>(generation.tokens),
               static_cast<long long>(generation.steps),
               generation.tokensPerStep(),
               static_cast<long long>(generation.right),
               static_cast<long long>(generation.guesses));
}

Status runCommand(const Program &program, const RunOptions &options) {
  const abi::Model &model = program.model;
  std::optional<Tokenizer> tokenizer;
  if (model.tokenizerBytes > 0 || !options.prompt.ids || !options.printIds) {
    Result<Tokenizer> opened = openTokenizer(model);
    if (!opened)
      return opened.error();
    tokenizer = *opened;
  }
  Result<Prompt> prompt = makePrompt(model, tokenizer, options);
  if (!prompt)
    return prompt.error();

  Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, options.resources);
  if (!engine)
    return engine.error();
  Session session(**engine);
  Sampler sampler(samplingOptions(model, options.sampling),
                  sampledIds(model, tokenizer));
  Result<std::unique_ptr<Drafter>> drafter = makeDrafter(
      options.draft.value_or(defaultDraft(model)), session, sampler);
  if (!drafter)
    return drafter.error();
  GenerateOptions limits{options.maxTokens, {}};
  if (!options.ignoreEos)
    limits.stopIds = stopIds(model, tokenizer);

  InterruptScope interrupts;
  std::optional<TextPrinter> printer;
  if (!options.printIds)
    printer.emplace(*tokenizer, prompt->endsInThinking);
  bool first = true;
  Result<Generation> generation = generate(
      session, sampler, prompt->ids, limits,
      [&](int32_t id) -> Status {
        if (printer)
          return printer->token(id);
        const char *separator = std::exchange(first, false) ? "" : ",";
        return print(separator + std::to_string(id));
      },
      drafter->get());
  Status finished = printer ? printer->finish() : print("\n");
  if (!generation)
    return generation.error();
  if (!finished)
    return finished;
  if (options.stats)
    printStats(*generation);
  if (generation->reason == StopReason::ContextFull)
    std::fprintf(stderr,
                 "note: stopped where the context of %lld tokens ends\n",
                 static_cast<long long>(model.maxContext));
  if (generation->reason == StopReason::Interrupted)
    dieOfInterrupt();
  return {};
}

} // namespace sputnik::rt
