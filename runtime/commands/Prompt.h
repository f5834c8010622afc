//===- Prompt.h - From options to tokens ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_PROMPT_H
#define SPUTNIK_RUNTIME_COMMANDS_PROMPT_H

#include "runtime/Abi.h"
#include "runtime/Result.h"
#include "runtime/Sampler.h"
#include "runtime/commands/Options.h"
#include "runtime/tokenizer/Tokenizer.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sputnik::rt {

/// The model's tokenizer; fails if it was compiled without one.
Result<Tokenizer> openTokenizer(const abi::Model &model);

/// The ids of a list such as `1,2,3`, each below `limit`.
Result<std::vector<int32_t>> readIds(const std::string &list, int64_t limit);

/// The text of the prompt, from where `options` say.
Result<std::string> readPromptText(const PromptOptions &options);

/// The ids of a plain text, with BOS if the tokenizer begins texts so. Control
/// tokens written out in the text stay text.
std::vector<int32_t> encodePlain(const Tokenizer &tokenizer,
                                 const std::string &text);

/// The model's sampling defaults, with what the user chose in their place and a
/// random seed if the user chose none.
SamplingOptions samplingOptions(const abi::Model &model,
                                const SamplingChoice &choice);

/// How many ids may be sampled: a model can have more rows than tokens.
int64_t sampledIds(const abi::Model &model,
                   const std::optional<Tokenizer> &tokenizer);

/// Ids that end generation.
std::vector<int32_t> stopIds(const abi::Model &model,
                             const std::optional<Tokenizer> &tokenizer);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_PROMPT_H
