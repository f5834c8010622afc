//===- TokenizerReader.h - Tokenizers of checkpoints ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_TOKENIZERREADER_H
#define SPUTNIK_IMPORTER_TOKENIZERREADER_H

#include "importer/GgufTokenizer.h"
#include "importer/TokenizerSpec.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>

namespace sputnik {

/// A text file of a checkpoint; `path` names it in errors.
struct NamedText {
  llvm::StringRef path, text;
};

/// The files of a Hugging Face folder that make up its tokenizer. All but the
/// first may be missing.
struct TokenizerTexts {
  NamedText tokenizer;                       ///< tokenizer.json
  std::optional<NamedText> config;           ///< tokenizer_config.json
  std::optional<NamedText> generationConfig; ///< generation_config.json
  std::optional<NamedText> chatTemplate;     ///< chat_template.jinja
};

/// Reads the tokenizer of a Hugging Face folder. Errors: no tokenizer.json; it
/// is not a byte-level BPE with one of the three pre-tokenizers of the family;
/// ids or merges that name nothing, or twice the same; one line each.
llvm::Expected<TokenizerSpec> readTokenizerFolder(llvm::StringRef folder);

/// The same from texts.
llvm::Expected<TokenizerSpec> readTokenizerTexts(const TokenizerTexts &files);

/// Makes the tokenizer of the GGUF file `path` from what its keys say. Errors
/// as readTokenizerFolder.
llvm::Expected<TokenizerSpec> readTokenizerGguf(const GgufTokenizer &in,
                                                llvm::StringRef path);

/// Fails if the tokenizer of `path` has ids that the model, with `rows` rows of
/// embeddings, cannot take.
llvm::Error checkTokenizerFits(const TokenizerSpec &spec, uint64_t rows,
                               llvm::StringRef path);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_TOKENIZERREADER_H
