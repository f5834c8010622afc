//===- TokenizerSpec.h - A tokenizer as read from a checkpoint --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_TOKENIZERSPEC_H
#define SPUTNIK_IMPORTER_TOKENIZERSPEC_H

#include "runtime/chat/ChatForm.h"
#include "runtime/tokenizer/TokenizerBlob.h"

#include "llvm/ADT/SmallVector.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sputnik {

/// A byte-level BPE tokenizer, checked: every id below is one of a token that
/// is there, every byte has a token, no merge makes an added token.
struct TokenizerSpec {
  struct Merge {
    uint32_t left, right, merged;
  };
  struct AddedToken {
    uint32_t id;
    /// Matched on the normalized text instead of the text as it is.
    bool normalized;
  };

  /// By id: the bytes the token stands for. Empty where `flags` lacks
  /// TokenPresent.
  std::vector<std::string> tokens;
  /// By id: rt::TokenFlags.
  std::vector<uint8_t> flags;
  /// By id: whether the token is text of the byte alphabet, which merging may
  /// make (added tokens and a few odd entries are not).
  std::vector<bool> mergeable;
  std::array<uint32_t, 256> byteIds{};
  /// The first is merged first.
  std::vector<Merge> merges;
  std::vector<AddedToken> addedTokens;

  rt::PreTokenizerKind preTokenizer = rt::PreTokenizerKind::SingleDigits;
  bool nfc = false;
  /// A piece that is a token is that token, whatever merging would make of it.
  bool ignoreMerges = false;
  bool addBos = false;
  std::optional<uint32_t> bosId, padId;
  /// The tokenizer's own EOS token first, no id twice.
  llvm::SmallVector<uint32_t, 4> eosIds;

  rt::ChatForm chatForm;
  /// Why `chatForm` is not known; else empty.
  std::string chatNote;

  /// The largest id plus one.
  uint32_t vocabSize() const { return static_cast<uint32_t>(tokens.size()); }
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_TOKENIZERSPEC_H
