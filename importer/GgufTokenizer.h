//===- GgufTokenizer.h - The vocabulary in a GGUF file ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_GGUFTOKENIZER_H
#define SPUTNIK_IMPORTER_GGUFTOKENIZER_H

#include "importer/Gguf.h"

namespace sputnik {

/// A vocabulary has at most this many tokens.
inline constexpr uint64_t maxVocabulary = 1 << 24;

/// What a GGUF file says of its tokenizer. Text refers to the bytes of the
/// file.
struct GgufTokenizer {
  llvm::StringRef model; ///< `gpt2` is byte-level BPE.
  llvm::StringRef pre;   ///< Names the pre-tokenizer; empty if absent.
  std::vector<llvm::StringRef> tokens; ///< Index = id.
  /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; as long
  /// as `tokens`, or empty if absent.
  std::vector<int32_t> types;
  std::vector<llvm::StringRef> merges;  ///< `left right`.
  std::optional<int64_t> bos, eos, pad; ///< Each less than tokens.size().
  std::optional<bool> addBos, addEos;
  std::optional<llvm::StringRef> chatTemplate;
};

/// Reads the `tokenizer.*` keys. Errors: no tokens, lengths that disagree, an
/// id that is no token.
llvm::Expected<GgufTokenizer> readGgufTokenizer(const GgufFile &file);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_GGUFTOKENIZER_H
