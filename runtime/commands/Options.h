//===- Options.h - What the command line asks for -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_OPTIONS_H
#define SPUTNIK_RUNTIME_COMMANDS_OPTIONS_H

#include "runtime/Engine.h"

#include <cstdint>
#include <optional>
#include <string>

namespace sputnik::rt {

/// Where the tokens to work on come from: one of `text`, `file` and `ids`.
struct PromptOptions {
  std::optional<std::string> text;
  std::optional<std::string> file; ///< `-`: standard input.
  std::optional<std::string> ids;
};

/// What was given of SamplingOptions; the model's defaults fill the rest.
struct SamplingChoice {
  std::optional<double> temperature;
  std::optional<double> topP;
  std::optional<int64_t> topK;
  std::optional<uint64_t> seed;
};

struct RunOptions {
  PromptOptions prompt;
  std::string system;
  bool raw = false;
  bool printIds = false;
  bool ignoreEos = false;
  bool stats = false;
  int64_t maxTokens = -1;
  SamplingChoice sampling;
  std::optional<std::string> draft; ///< Value of --draft.
  Resources resources;
};

struct ChatOptions {
  std::string system;
  int64_t maxTokens = -1;
  SamplingChoice sampling;
  std::optional<std::string> draft; ///< Value of --draft.
  Resources resources;
};

struct LogitsOptions {
  std::string ids;
  std::string output;
  Resources resources;
};

struct ScoreOptions {
  PromptOptions prompt;
  int64_t window = 0; ///< 0: the whole context.
  std::string reference; ///< File of logits to compare with; empty: none.
  std::string observations; ///< File for abi::Step::observed; empty: none.
  bool json = false;
  Resources resources;
};

struct BenchOptions {
  std::optional<std::string> file; ///< Of a text; `-`: standard input.
  std::optional<int64_t> prompt;
  std::optional<int64_t> gen;
  std::optional<int64_t> context;
  int64_t repeat = 3;
  std::optional<std::string> draft; ///< Value of --draft.
  std::optional<std::string> profile; ///< File for a trace.
  bool json = false;
  Resources resources;
};

struct InfoOptions {
  bool json = false;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_OPTIONS_H
