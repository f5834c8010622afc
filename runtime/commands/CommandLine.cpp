//===- CommandLine.cpp - Reads the command line ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"
#include "runtime/ModelInfo.h"
#include "runtime/ThreadPool.h"
#include "runtime/chat/RenderCommand.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/DraftChoice.h"
#include "runtime/commands/Prompt.h"
#include "runtime/tokenizer/TokenIds.h"
#include "runtime/tokenizer/TokenizeCommand.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <limits>
#include <type_traits>

namespace sputnik::rt {

static constexpr int usageError = 2;
static constexpr int inputError = 1;

/// Accepts decimal numbers from `low` to `high`. CLI11's own check lets "nan"
/// pass and takes 010 for 8.
template <typename T> static CLI::Validator between(T low, T high) {
  const std::string range = format("%.15g to %.15g", static_cast<double>(low),
                                   static_cast<double>(high));
  return CLI::Validator(
      [low, high, range](std::string &text) -> std::string {
        T value;
        const auto [end, error] =
            std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc() && end == text.data() + text.size() &&
            value >= low && value <= high) {
          if constexpr (std::is_integral_v<T>)
            text = std::to_string(value);
          return "";
        }
        return "'" + quotable(text) + "' is not a number from " + range;
      },
      "");
}

static CLI::Validator atLeast(int64_t low) {
  return between(low, std::numeric_limits<int64_t>::max());
}

static CLI::Validator draftChoice() {
  return CLI::Validator(
      [](std::string &text) -> std::string {
        if (text == noDrafts || text == promptLookup)
          return "";
        const std::string wrong = atLeast(1)(text);
        return wrong.empty() ? ""
                             : wrong + ", " + noDrafts + " or " + promptLookup;
      },
      "");
}

/// Accepts two words, for a bool.
static CLI::Validator onOrOff() {
  return CLI::Validator(
      [](std::string &text) -> std::string {
        if (text != "on" && text != "off")
          return "'" + quotable(text) + "' is neither on nor off";
        text = text == "on" ? "true" : "false";
        return "";
      },
      "");
}

static CLI::Validator tokenIds() {
  return CLI::Validator(
      [](std::string &text) {
        std::string error;
        parseTokenIds(text, error);
        return error;
      },
      "");
}

namespace {
/// The command line's grammar and where its values go.
class Grammar {
public:
  Grammar(const abi::Model &model, std::string name);

  /// Parses; on failure returns the exit status to end with, after printing.
  std::optional<int> parse(std::vector<std::string> arguments);
  /// Carries out the command that was parsed.
  int carryOut(const Program &program);

private:
  /// The exit status of a command, after printing the error if it failed.
  static int finish(const Status &status);
  CLI::App *addCommand(const char *name, const char *description);
  void addResources(CLI::App *command, Resources &resources);
  void addSampling(CLI::App *command, SamplingChoice &sampling,
                   int64_t &maxTokens);
  void addDraft(CLI::App *command, std::optional<std::string> &draft);
  void addRun();
  void addChat();
  void addMeasures();
  void addText();

  const ModelInfo info;
  CLI::App app;
  CLI::App *run, *chat, *logits, *score, *bench, *tokenize, *render, *describe;
  std::optional<std::string> promptArgument;
  RunOptions runOptions;
  ChatOptions chatOptions;
  LogitsOptions logitsOptions;
  ScoreOptions scoreOptions;
  BenchOptions benchOptions;
  TokenizeCommandOptions tokenizeOptions;
  RenderCommandOptions renderOptions;
  InfoOptions infoOptions;
};
} // namespace

Grammar::Grammar(const abi::Model &model, std::string name)
    : info(readModelInfo(model)) {
  app.name(name);
  app.description("A compiled language model. `" + name +
                  " \"prompt\"` is short for `" + name + " run \"prompt\"`.");
  app.require_subcommand(1);
  app.set_version_flag("--version", "sputnik " + info.version);
  addRun();
  addChat();
  addMeasures();
  addText();
}

CLI::App *Grammar::addCommand(const char *name, const char *description) {
  return app.add_subcommand(name, description);
}

void Grammar::addResources(CLI::App *command, Resources &resources) {
  command
      ->add_option("--threads", resources.threads,
                   "Threads to compute with (default: one for each core)")
      ->transform(between<int64_t>(1, ThreadPool::maxThreads))
      ->type_name("N");
  command
      ->add_option("--numa", resources.numa,
                   "on: where cores have memory near to them, copy the weights "
                   "to that of the cores that read them, if it is enough; off: "
                   "leave them where the system has them (default: on)")
      ->transform(onOrOff())
      ->type_name("on|off");
}

void Grammar::addSampling(CLI::App *command, SamplingChoice &sampling,
                          int64_t &maxTokens) {
  const SamplingOptions &defaults = info.sampling;
  command
      ->add_option("-n", maxTokens,
                   "Most tokens to generate (default: what the context holds)")
      ->transform(atLeast(0))
      ->type_name("N");
  command
      ->add_option("--temp", sampling.temperature,
                   format("Temperature; 0 always takes the likeliest token "
                          "(default: %g)",
                          defaults.temperature))
      ->transform(between(0.0, 100.0))
      ->type_name("T");
  command
      ->add_option("--top-p", sampling.topP,
                   format("Sample among the likeliest tokens that have "
                          "probability P together (default: %g)",
                          defaults.topP))
      ->transform(between(0.0, 1.0))
      ->type_name("P");
  command
      ->add_option("--top-k", sampling.topK,
                   format("Sample among the K likeliest tokens; 0: all "
                          "(default: %lld)",
                          static_cast<long long>(defaults.topK)))
      ->transform(atLeast(0))
      ->type_name("K");
  command
      ->add_option("--seed", sampling.seed,
                   "Makes sampling repeatable (default: random)")
      ->transform(between<uint64_t>(0, std::numeric_limits<uint64_t>::max()))
      ->type_name("S");
}

void Grammar::addDraft(CLI::App *command, std::optional<std::string> &draft) {
  command
      ->add_option("--draft", draft,
                   "Guess tokens and check several in a step, which changes "
                   "the speed only; lookup: guess that the text repeats "
                   "itself, N: N tokens from the model's draft head (default: "
                   "1 if the model has one, else off)")
      ->transform(draftChoice())
      ->type_name("off|lookup|N");
}

void Grammar::addRun() {
  run = addCommand("run", "Answer a prompt");
  // One of these four; not an option group, in which CLI11 does not look for
  // what follows `--`.
  run->add_option("prompt", promptArgument, "The prompt");
  run->add_option("-p", runOptions.prompt.text, "The prompt")
      ->type_name("TEXT");
  run->add_option("-f", runOptions.prompt.file,
                  "File with the prompt; -: standard input")
      ->type_name("FILE");
  run->add_option("--ids", runOptions.prompt.ids,
                  "The prompt as token ids, nothing added to it")
      ->check(tokenIds())
      ->type_name("1,2,3");
  run->add_option("--system", runOptions.system, "System prompt")
      ->type_name("TEXT");
  run->add_flag("--raw", runOptions.raw,
                "Continue the text itself, not as a chat; control tokens "
                "written in it stay text");
  run->add_flag("--print-ids", runOptions.printIds,
                "Print the ids of the generated tokens, the end token among "
                "them, instead of text");
  run->add_flag("--ignore-eos", runOptions.ignoreEos,
                "Go on after the end of the answer");
  run->add_flag("--stats", runOptions.stats,
                "Say on standard error how many steps the answer took");
  addSampling(run, runOptions.sampling, runOptions.maxTokens);
  addDraft(run, runOptions.draft);
  addResources(run, runOptions.resources);
}

void Grammar::addChat() {
  chat = addCommand("chat", "Hold a conversation in the terminal");
  chat->add_option("--system", chatOptions.system, "System prompt")
      ->type_name("TEXT");
  addSampling(chat, chatOptions.sampling, chatOptions.maxTokens);
  addDraft(chat, chatOptions.draft);
  addResources(chat, chatOptions.resources);
}

void Grammar::addMeasures() {
  logits = addCommand("logits", "Write the logits of every position to a file");
  logits->add_option("--ids", logitsOptions.ids, "Token ids")
      ->check(tokenIds())
      ->required()
      ->type_name("1,2,3");
  logits
      ->add_option("-o", logitsOptions.output,
                   "File for float32, little-endian: one row of vocabulary "
                   "size for each position")
      ->required()
      ->type_name("FILE");
  addResources(logits, logitsOptions.resources);

  score =
      addCommand("score", "Negative log-likelihood and perplexity of a text");
  CLI::Option_group *source = score->add_option_group("text");
  source
      ->add_option("-f", scoreOptions.prompt.file,
                   "File with the text; -: standard input")
      ->type_name("FILE");
  source
      ->add_option("--ids", scoreOptions.prompt.ids,
                   "The text as token ids, nothing added to it")
      ->check(tokenIds())
      ->type_name("1,2,3");
  source->require_option(1);
  score
      ->add_option("--window", scoreOptions.window,
                   "Cut longer texts into windows of N tokens (default: the "
                   "context)")
      ->transform(atLeast(2))
      ->type_name("N");
  score
      ->add_option("--reference", scoreOptions.reference,
                   "Compare with the logits in this file, which `logits` of "
                   "another executable wrote for the same tokens: KL "
                   "divergence, and how often the likeliest token is the same")
      ->type_name("FILE");
  score
      ->add_option("--observations", scoreOptions.observations,
                   "Write what `sputnik calibrate` makes of the text's rows to "
                   "this file")
      ->type_name("FILE");
  score->add_flag("--json", scoreOptions.json,
                  "JSON, with the figure of every token");
  addResources(score, scoreOptions.resources);

  bench =
      addCommand("bench", "Measure speed, and the machine's limits beside it");
  bench
      ->add_option("-f", benchOptions.file,
                   "File with a text to read and continue in place of random "
                   "tokens; -: standard input")
      ->type_name("FILE");
  bench
      ->add_option("--prompt", benchOptions.prompt,
                   "Tokens to prefill (default: those of the text, else 512)")
      ->transform(atLeast(1))
      ->type_name("N");
  bench->add_option("--gen", benchOptions.gen, "Tokens to decode (default: 64)")
      ->transform(atLeast(1))
      ->type_name("N");
  bench
      ->add_option("--context", benchOptions.context,
                   "Decode with this many tokens in the cache (default: those "
                   "of the text, else 0)")
      ->transform(atLeast(0))
      ->type_name("N");
  bench
      ->add_option("--repeat", benchOptions.repeat,
                   "Rounds; the median counts (default: 3)")
      ->transform(between<int64_t>(1, 1000))
      ->type_name("R");
  addDraft(bench, benchOptions.draft);
  bench
      ->add_option("--profile", benchOptions.profile,
                   "Write when each region ran to FILE, for Chrome's trace "
                   "viewer, and print a table of regions; for models compiled "
                   "with --profile or for a GPU")
      ->type_name("FILE");
  bench->add_flag("--json", benchOptions.json, "JSON");
  addResources(bench, benchOptions.resources);

  describe = addCommand("info", "What this executable was made from");
  describe->add_flag("--json", infoOptions.json, "JSON");
}

void Grammar::addText() {
  tokenize = addCommand("tokenize", "Text to token ids and back");
  tokenize
      ->add_option("-f", tokenizeOptions.file,
                   "File with the text (default: standard input)")
      ->type_name("FILE");
  CLI::Option *ids = tokenize
                         ->add_option("--ids", tokenizeOptions.ids,
                                      "Print the bytes of these tokens")
                         ->check(tokenIds())
                         ->type_name("1,2,3");
  tokenize->add_flag("--bos", tokenizeOptions.bos, "Begin with the BOS token")
      ->excludes(ids);
  tokenize
      ->add_flag("--plain", tokenizeOptions.plain,
                 "Take control tokens written in the text for text")
      ->excludes(ids);
  ids->excludes("-f");

  render = addCommand("render", "Messages to the prompt that the chat template "
                                "makes of them");
  render
      ->add_option(
          "-f", renderOptions.file,
          "File with a JSON array of {\"role\", \"content\"} (default: "
          "standard input)")
      ->type_name("FILE");
  render->add_flag("!--no-generation-prompt", renderOptions.generationPrompt,
                   "Do not begin an answer");
}

/// Prints the one line that goes with a failure.
static void printError(const std::string &message) {
  std::cerr << "error: " << message << '\n';
}

std::optional<int> Grammar::parse(std::vector<std::string> arguments) {
  // A command line that names no command is a prompt.
  if (!arguments.empty()) {
    const std::string &first = arguments.front();
    const std::vector<CLI::App *> commands = app.get_subcommands({});
    const bool named = std::any_of(
        commands.begin(), commands.end(),
        [&](const CLI::App *command) { return command->get_name() == first; });
    if (!named && first != "-h" && first != "--help" && first != "--version")
      arguments.insert(arguments.begin(), "run");
  }
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
    const PromptOptions &prompt = runOptions.prompt;
    const int sources = promptArgument.has_value() + prompt.text.has_value() +
                        prompt.file.has_value() + prompt.ids.has_value();
    if (*run && sources != 1)
      throw CLI::ValidationError("run",
                                 "expected one of a prompt, -p, -f and --ids");
    if (promptArgument)
      runOptions.prompt.text = promptArgument;
    return std::nullopt;
  } catch (const CLI::CallForHelp &) {
    return finish(print(app.help()));
  } catch (const CLI::CallForVersion &version) {
    return finish(print(std::string(version.what()) + "\n"));
  } catch (const CLI::ParseError &error) {
    std::string message = error.what();
    std::replace(message.begin(), message.end(), '\n', ' ');
    printError(message + " (" + app.get_name() + " --help)");
    return usageError;
  }
}

int Grammar::finish(const Status &status) {
  if (status)
    return 0;
  printError(status.error().message);
  return inputError;
}

int Grammar::carryOut(const Program &program) {
  if (*run)
    return finish(runCommand(program, runOptions));
  if (*chat)
    return finish(chatCommand(program, chatOptions));
  if (*logits)
    return finish(logitsCommand(program, logitsOptions));
  if (*score)
    return finish(scoreCommand(program, scoreOptions));
  if (*bench)
    return finish(benchCommand(program, benchOptions));
  if (*describe)
    return finish(infoCommand(program, infoOptions));
  const Result<Tokenizer> tokenizer = openTokenizer(program.model);
  if (!tokenizer)
    return finish(tokenizer.error());
  if (*tokenize)
    return runTokenizeCommand(*tokenizer, tokenizeOptions, std::cin, std::cout,
                              std::cerr);
  return runRenderCommand(*tokenizer, renderOptions, std::cin, std::cout,
                          std::cerr);
}

int runCommandLine(const Program &program, int argc, char **argv) {
  std::string name = argc > 0 ? argv[0] : "";
  name.erase(0, name.rfind('/') + 1);
  try {
    Grammar grammar(program.model, name);
    const std::optional<int> status =
        grammar.parse({argv + std::min(argc, 1), argv + argc});
    return status ? *status : grammar.carryOut(program);
  } catch (const std::exception &error) {
    printError(error.what());
    return inputError;
  }
}

} // namespace sputnik::rt
