//===- BenchTokens.h - What a benchmark reads and decodes -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_BENCHTOKENS_H
#define SPUTNIK_RUNTIME_COMMANDS_BENCHTOKENS_H

#include "runtime/Abi.h"
#include "runtime/Result.h"
#include "runtime/commands/Options.h"
#include "runtime/tokenizer/Tokenizer.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace sputnik::rt {

/// What the first token is waited for: about a short question with its markers.
inline constexpr int64_t startupTokens = 8;

/// How many tokens are prefilled, and decoded after how many others.
struct Lengths {
  int64_t prompt, gen, context;
};

struct BenchTokens {
  Lengths lengths;
  /// For the prompt, the context and the first token: of a text, or random ones.
  std::vector<int32_t> ids;
};

/// Fails if they do not fit the context, or the text has not as many. A text needs
/// the tokenizer.
Result<BenchTokens> chooseTokens(const abi::Model &model,
                                 const BenchOptions &options,
                                 const std::optional<Tokenizer> &tokenizer);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_BENCHTOKENS_H
