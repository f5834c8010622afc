//===- TokenizerBuilder.h - Checks a vocabulary part by part ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_TOKENIZERBUILDER_H
#define SPUTNIK_IMPORTER_TOKENIZERBUILDER_H

#include "importer/TokenizerSpec.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <utility>

namespace sputnik {

/// Ids are below this; the largest vocabulary of the family has 152,064.
inline constexpr int64_t maxTokenId = (1 << 20) - 1;
/// An added token is at most this long: matching looks this far ahead.
inline constexpr size_t maxAddedTokenBytes = 256;
/// All added tokens together.
inline constexpr size_t maxAddedTokenBytesTotal = 4u << 20;

/// Makes a TokenizerSpec from the parts that tokenizer.json and GGUF share and
/// enforces the rules of both. Call in the order of the declarations. Every
/// function fails with one line that names `file`.
class TokenizerBuilder {
public:
  explicit TokenizerBuilder(llvm::StringRef file) : file(file.str()) {}

  /// An entry of the vocabulary, written in the alphabet in which every byte is
  /// one printable character.
  llvm::Error addToken(llvm::StringRef text, int64_t id);
  /// A token written as it is. May repeat an entry of the vocabulary.
  llvm::Error addAddedToken(llvm::StringRef content, int64_t id, bool special,
                            bool normalized);
  /// The next merge in rank order; `index` names it in errors.
  llvm::Error addMerge(llvm::StringRef left, llvm::StringRef right,
                       size_t index);
  /// A merge written as "left right".
  llvm::Error addMerge(llvm::StringRef both, size_t index);
  /// After the last merge: every byte must have a token.
  llvm::Error finishVocabulary();

  /// The id of an added token or an entry of the vocabulary.
  std::optional<uint32_t> find(llvm::StringRef text) const;
  /// Makes `id` the BOS token, or one more EOS token, or the padding token;
  /// `key` names it in errors.
  llvm::Error setBos(int64_t id, llvm::StringRef key);
  llvm::Error addEos(int64_t id, llvm::StringRef key);
  llvm::Error setPad(int64_t id, llvm::StringRef key);
  /// Recognises the chat template's form; empty text: there is none.
  void setChatTemplate(llvm::StringRef text, llvm::StringRef origin);

  TokenizerSpec &spec() { return result; }

private:
  llvm::Error fail(const llvm::Twine &message) const;
  llvm::Expected<uint32_t> checkedId(int64_t id, llvm::StringRef key) const;
  void makeRoom(uint32_t id);
  bool present(uint32_t id) const;

  std::string file;
  TokenizerSpec result;
  llvm::StringMap<uint32_t> vocabulary, added;
  llvm::DenseMap<std::pair<uint32_t, uint32_t>, size_t> mergeIndex;
  size_t addedBytes = 0;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_TOKENIZERBUILDER_H
