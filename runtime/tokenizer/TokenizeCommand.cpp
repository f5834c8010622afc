//===- TokenizeCommand.cpp - `X tokenize` ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/TokenizeCommand.h"

#include "runtime/tokenizer/TextInput.h"
#include "runtime/tokenizer/TokenIds.h"

namespace sputnik::rt {
namespace {

int finish(std::ostream &output, std::ostream &errors) {
  output.flush();
  if (output)
    return 0;
  errors << "error: standard output cannot be written\n";
  return 1;
}

int detokenize(const Tokenizer &tokenizer, const std::string &list,
               std::ostream &output, std::ostream &errors) {
  std::string error;
  const auto ids = parseTokenIds(list, error);
  if (!ids) {
    errors << "error: --ids: " << error << "\n";
    return 2;
  }
  for (int32_t id : *ids)
    if (!tokenizer.hasToken(id)) {
      errors << "error: --ids: " << id
             << " is the id of no token, expected less than "
             << tokenizer.vocabSize() << "\n";
      return 1;
    }
  output << tokenizer.decode(*ids);
  return finish(output, errors);
}

} // namespace

int runTokenizeCommand(const Tokenizer &tokenizer,
                       const TokenizeCommandOptions &options,
                       std::istream &input, std::ostream &output,
                       std::ostream &errors) {
  if (options.ids)
    return detokenize(tokenizer, *options.ids, output, errors);
  std::string error;
  const auto text =
      readText(options.file, input, Tokenizer::maxTextBytes, error);
  if (!text) {
    errors << "error: " << error << "\n";
    return 1;
  }
  if (options.bos && !tokenizer.bosId()) {
    errors << "error: --bos: the tokenizer has no BOS token\n";
    return 1;
  }
  output << printTokenIds(tokenizer.encode(
                *text, {.addBos = options.bos, .addedTokens = !options.plain}))
         << "\n";
  return finish(output, errors);
}

} // namespace sputnik::rt
