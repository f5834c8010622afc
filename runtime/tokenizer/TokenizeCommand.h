//===- TokenizeCommand.h - `X tokenize` -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_TOKENIZECOMMAND_H
#define SPUTNIK_RUNTIME_TOKENIZER_TOKENIZECOMMAND_H

#include "runtime/tokenizer/Tokenizer.h"

#include <istream>
#include <optional>
#include <ostream>
#include <string>

namespace sputnik::rt {

/// The options of `X tokenize`.
struct TokenizeCommandOptions {
  std::optional<std::string> file =
      {};                              ///< -f; else the text is standard input.
  std::optional<std::string> ids = {}; ///< --ids: turn these back into bytes.
  bool bos = false;                    ///< --bos
  bool plain = false;                  ///< --plain: added tokens are text.
};

/// Writes the ids of the text, comma-separated on one line, or the bytes of the
/// ids, to `output`. Returns the exit status: 0; 1 with one line on `errors`
/// when the input cannot be read or an id has no token; 2 with one line when
/// the list of ids is malformed.
int runTokenizeCommand(const Tokenizer &tokenizer,
                       const TokenizeCommandOptions &options,
                       std::istream &input, std::ostream &output,
                       std::ostream &errors);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_TOKENIZECOMMAND_H
