//===- ChatCommand.cpp - A conversation in the terminal -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"
#include "runtime/Generate.h"
#include "runtime/Interrupt.h"
#include "runtime/chat/ChatTemplate.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/DraftChoice.h"
#include "runtime/commands/LineReader.h"
#include "runtime/commands/Prompt.h"
#include "runtime/commands/TextPrinter.h"

#include <cstdio>
#include <unistd.h>

namespace sputnik::rt {

static constexpr char helpText[] = "/reset   forget the conversation\n"
                                   "/exit    leave, as Ctrl-D does\n"
                                   "/help    this text\n"
                                   "Ctrl-C stops an answer.\n";

namespace {
/// A conversation and everything that carries it on.
class Chat {
public:
  Chat(const ChatOptions &options, const Tokenizer &tokenizer,
       const ChatTemplate &chatTemplate, Engine &engine)
      : tokenizer(tokenizer), chatTemplate(chatTemplate), session(engine),
        sampler(samplingOptions(engine.model(), options.sampling),
                sampledIds(engine.model(), tokenizer)),
        limits{options.maxTokens, stopIds(engine.model(), tokenizer)},
        system(options.system) {
    reset();
  }

  /// Takes the drafter that `choice`, a value of --draft, names.
  Status useDrafter(const std::string &choice) {
    Result<std::unique_ptr<Drafter>> made =
        makeDrafter(choice, session, sampler);
    if (!made)
      return made.error();
    drafter = std::move(*made);
    return {};
  }

  /// Forgets everything but the system prompt.
  void reset() {
    session.truncate(0);
    messages.clear();
    if (!system.empty())
      messages.push_back({ChatRole::System, system});
  }

  /// Answers on standard output.
  Status answer(std::string question) {
    messages.push_back({ChatRole::User, std::move(question)});
    const std::vector<int32_t> prompt = chatTemplate.encode(messages);
    const int64_t context = session.engine().model().maxContext;
    if (static_cast<int64_t>(prompt.size()) > context) {
      messages.pop_back();
      std::fprintf(stderr,
                   "note: the conversation would have %zu tokens, the context "
                   "holds %lld; /reset starts a new one\n",
                   prompt.size(), static_cast<long long>(context));
      return {};
    }
    // The thinking of older answers is no longer part of the prompt, so what
    // the cache holds counts only as far as both agree.
    const auto known = static_cast<size_t>(session.keepCommonPrefix(prompt));
    TextPrinter printer(tokenizer, chatTemplate.startsInThinking());
    Result<Generation> generation = generate(
        session, sampler, std::span(prompt).subspan(known), limits,
        [&](int32_t id) { return printer.token(id); }, drafter.get());
    Status finished = printer.finish();
    if (!generation)
      return generation.error();
    if (!finished)
      return finished;
    if (generation->reason == StopReason::ContextFull)
      std::fprintf(stderr,
                   "note: stopped where the context of %lld tokens ends; "
                   "/reset starts a new conversation\n",
                   static_cast<long long>(context));
    messages.push_back({ChatRole::Assistant, contentOf(printer.text())});
    return {};
  }

private:
  /// What an answer adds to the conversation. Thinking that was cut off is no
  /// answer.
  std::string contentOf(const std::string &text) const {
    const bool thinks = chatTemplate.startsInThinking() ||
                        text.find(thinkMarker) != std::string::npos;
    if (thinks && text.find(endThinkMarker) == std::string::npos)
      return "";
    return text;
  }

  const Tokenizer tokenizer;
  const ChatTemplate chatTemplate;
  Session session;
  Sampler sampler;
  std::unique_ptr<Drafter> drafter;
  const GenerateOptions limits;
  const std::string system;
  std::vector<ChatMessage> messages;
};
} // namespace

/// Reads questions until there are no more. The notes are for a person at a
/// terminal only.
static Status converse(Chat &chat, bool interactive) {
  LineReader reader(STDIN_FILENO);
  const auto note = [&](const char *text) {
    return interactive ? print(text) : Status();
  };
  if (Status status = note("/help lists the commands.\n"); !status)
    return status;
  while (true) {
    clearInterrupt();
    if (Status status = note("> "); !status)
      return status;
    std::string line;
    Result<LineReader::Event> event = reader.next(line);
    if (!event)
      return event.error();
    if (*event == LineReader::Event::Interrupted) {
      if (!interactive || terminationRequested())
        dieOfInterrupt();
      if (Status status = note("\n"); !status)
        return status;
      continue;
    }
    if (*event == LineReader::Event::End)
      return note("\n");
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    if (line == "/exit")
      return {};
    // A Ctrl-C just before the line was read is not meant for its answer.
    if (!terminationRequested())
      clearInterrupt();
    Status status;
    if (line == "/reset")
      chat.reset();
    else if (line == "/help")
      status = print(helpText);
    else
      status = chat.answer(std::move(line));
    if (!status)
      return status;
    if (terminationRequested())
      dieOfInterrupt();
  }
}

Status chatCommand(const Program &program, const ChatOptions &options) {
  Result<Tokenizer> tokenizer = openTokenizer(program.model);
  if (!tokenizer)
    return tokenizer.error();
  std::string error;
  const std::optional<ChatTemplate> chatTemplate =
      ChatTemplate::open(*tokenizer, error);
  if (!chatTemplate)
    return Error{error};
  Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, options.resources);
  if (!engine)
    return engine.error();
  InterruptScope interrupts;
  Chat chat(options, *tokenizer, *chatTemplate, **engine);
  if (Status status = chat.useDrafter(
          options.draft.value_or(defaultDraft(program.model)));
      !status)
    return status;
  return converse(chat, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

} // namespace sputnik::rt
