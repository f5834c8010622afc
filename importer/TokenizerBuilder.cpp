//===- TokenizerBuilder.cpp - Checks a vocabulary part by part ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/TokenizerBuilder.h"

#include "importer/ChatTemplateReader.h"
#include "importer/InputError.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace sputnik {
namespace {

/// The byte that each character of the byte alphabet stands for: the printable
/// ones of Latin-1 stand for themselves, the others were moved to U+0100 and
/// up, in order. -1: stands for none.
class ByteAlphabet {
public:
  ByteAlphabet() {
    toByte.fill(-1);
    int moved = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7e) ||
                             (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      toByte[printable ? byte : moved++] = byte;
    }
  }

  /// The bytes that `text` stands for; nothing if it is not all of the
  /// alphabet.
  std::optional<std::string> decode(StringRef text) const {
    std::string bytes;
    for (size_t at = 0; at < text.size();) {
      const auto lead = static_cast<uint8_t>(text[at]);
      unsigned codePoint = lead;
      size_t size = 1;
      if (lead >= 0xc2 && lead <= 0xdf && at + 1 < text.size()) {
        codePoint =
            (lead & 0x1fu) << 6 | (static_cast<uint8_t>(text[at + 1]) & 0x3fu);
        size = 2;
      } else if (lead >= 0x80) {
        return std::nullopt;
      }
      if (codePoint >= toByte.size() || toByte[codePoint] < 0)
        return std::nullopt;
      bytes += static_cast<char>(toByte[codePoint]);
      at += size;
    }
    return bytes;
  }

private:
  std::array<int, 0x144> toByte;
};

const ByteAlphabet &byteAlphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

} // namespace

Error TokenizerBuilder::fail(const Twine &message) const {
  return inputError(file, message);
}

bool TokenizerBuilder::present(uint32_t id) const {
  return id < result.flags.size() && (result.flags[id] & rt::TokenPresent);
}

void TokenizerBuilder::makeRoom(uint32_t id) {
  if (id < result.tokens.size())
    return;
  result.tokens.resize(id + 1);
  result.flags.resize(id + 1);
  result.mergeable.resize(id + 1);
}

Error TokenizerBuilder::addToken(StringRef text, int64_t id) {
  if (id < 0 || id > maxTokenId)
    return fail("the token " + quoted(text) + " has id " + Twine(id) +
                ", expected 0 to " + Twine(maxTokenId));
  const auto index = static_cast<uint32_t>(id);
  if (present(index))
    return fail("id " + Twine(id) + " belongs to two tokens, " +
                quoted(result.tokens[index]) + " and " + quoted(text));
  if (!vocabulary.try_emplace(text, index).second)
    return fail("the token " + quoted(text) + " occurs twice");
  makeRoom(index);
  result.flags[index] = rt::TokenPresent;
  if (std::optional<std::string> bytes = byteAlphabet().decode(text)) {
    result.tokens[index] = std::move(*bytes);
    result.mergeable[index] = !result.tokens[index].empty();
  } else {
    result.tokens[index] = text.str();
  }
  return Error::success();
}

Error TokenizerBuilder::addAddedToken(StringRef content, int64_t id,
                                      bool special, bool normalized) {
  if (id < 0 || id > maxTokenId)
    return fail("the added token " + quoted(content) + " has id " + Twine(id) +
                ", expected 0 to " + Twine(maxTokenId));
  const auto index = static_cast<uint32_t>(id);
  if (content.empty())
    return fail("the added token with id " + Twine(id) + " is empty");
  if (content.size() > maxAddedTokenBytes)
    return fail("the added token " + quoted(content) + " has " +
                Twine(content.size()) + " bytes, expected at most " +
                Twine(maxAddedTokenBytes));
  addedBytes += content.size();
  if (addedBytes > maxAddedTokenBytesTotal)
    return fail("the added tokens have more than " +
                Twine(maxAddedTokenBytesTotal) + " bytes");
  if (!added.try_emplace(content, index).second)
    return fail("the added token " + quoted(content) + " occurs twice");
  const auto same = vocabulary.find(content);
  if (same != vocabulary.end() && same->second != index)
    return fail("the added token " + quoted(content) + " has id " + Twine(id) +
                ", but id " + Twine(same->second) + " in the vocabulary");
  if (same == vocabulary.end() && present(index))
    return fail("id " + Twine(id) + " belongs to two tokens, " +
                quoted(result.tokens[index]) + " and " + quoted(content));
  makeRoom(index);
  // A single byte stays what merging starts from, though it is added too.
  result.mergeable[index] = result.mergeable[index] && content.size() == 1 &&
                            result.tokens[index] == content;
  result.tokens[index] = content.str();
  result.flags[index] =
      rt::TokenPresent | rt::TokenAdded | (special ? rt::TokenSpecial : 0);
  result.addedTokens.push_back({index, normalized});
  return Error::success();
}

Error TokenizerBuilder::addMerge(StringRef left, StringRef right,
                                 size_t index) {
  const auto name = [&] {
    return "merge " + std::to_string(index) + " of " + quoted(left) + " and " +
           quoted(right) + ": ";
  };
  const auto part = [&](StringRef text, StringRef what) -> Expected<uint32_t> {
    const auto found = vocabulary.find(text);
    if (found == vocabulary.end())
      return fail(name() + what + quoted(text) + " is not in the vocabulary");
    return found->second;
  };
  Expected<uint32_t> leftId = part(left, "");
  if (!leftId)
    return leftId.takeError();
  Expected<uint32_t> rightId = part(right, "");
  if (!rightId)
    return rightId.takeError();
  SmallString<64> text(left);
  text += right;
  Expected<uint32_t> merged = part(text, "its result ");
  if (!merged)
    return merged.takeError();
  // Else text of a user could become a control token.
  for (uint32_t id : {*leftId, *rightId, *merged})
    if (!result.mergeable[id])
      return fail(name() + quoted(result.tokens[id]) +
                  " is no text that merging may make");
  const auto [known, isNew] =
      mergeIndex.try_emplace({*leftId, *rightId}, index);
  if (!isNew)
    return fail(name() + "repeats merge " + Twine(known->second));
  result.merges.push_back({*leftId, *rightId, *merged});
  return Error::success();
}

Error TokenizerBuilder::addMerge(StringRef both, size_t index) {
  const auto [left, right] = both.split(' ');
  if (left.empty() || right.empty() || right.contains(' '))
    return fail("merge " + Twine(index) + " is " + quoted(both) +
                ", expected two tokens with one space between them");
  return addMerge(left, right, index);
}

Error TokenizerBuilder::finishVocabulary() {
  std::array<bool, 256> have{};
  for (uint32_t id = 0; id < result.vocabSize(); ++id)
    if (result.mergeable[id] && result.tokens[id].size() == 1) {
      const auto byte = static_cast<uint8_t>(result.tokens[id][0]);
      have[byte] = true;
      result.byteIds[byte] = id;
    }
  const auto missing = llvm::find(have, false);
  if (missing != have.end())
    return fail("the vocabulary has no token for the byte 0x" +
                utohexstr(missing - have.begin(), /*LowerCase=*/true, 2) +
                ", expected a byte-level BPE with all 256");
  return Error::success();
}

std::optional<uint32_t> TokenizerBuilder::find(StringRef text) const {
  for (const StringMap<uint32_t> *map : {&added, &vocabulary})
    if (const auto found = map->find(text); found != map->end())
      return found->second;
  return std::nullopt;
}

Expected<uint32_t> TokenizerBuilder::checkedId(int64_t id,
                                               StringRef key) const {
  if (id < 0 || id > maxTokenId || !present(static_cast<uint32_t>(id)))
    return fail(key + " is " + Twine(id) +
                ", which is the id of no token of the vocabulary");
  return static_cast<uint32_t>(id);
}

Error TokenizerBuilder::setBos(int64_t id, StringRef key) {
  return checkedId(id, key).moveInto(result.bosId.emplace());
}

Error TokenizerBuilder::setPad(int64_t id, StringRef key) {
  return checkedId(id, key).moveInto(result.padId.emplace());
}

Error TokenizerBuilder::addEos(int64_t id, StringRef key) {
  Expected<uint32_t> checked = checkedId(id, key);
  if (!checked)
    return checked.takeError();
  if (!is_contained(result.eosIds, *checked))
    result.eosIds.push_back(*checked);
  return Error::success();
}

void TokenizerBuilder::setChatTemplate(StringRef text, StringRef origin) {
  if (text.empty()) {
    result.chatNote = (origin + " has no chat template").str();
    return;
  }
  const StringRef bos =
      result.bosId ? StringRef(result.tokens[*result.bosId]) : StringRef();
  const StringRef eos = result.eosIds.empty()
                            ? StringRef()
                            : StringRef(result.tokens[result.eosIds.front()]);
  ChatTemplateReading reading = readChatTemplate(text, bos, eos);
  result.chatForm = reading.form;
  result.chatNote = reading.note;
  if (!result.chatForm.known())
    return;
  for (std::string_view marker : {rt::userMarker, rt::assistantMarker})
    if (!added.contains(marker)) {
      result.chatForm = {};
      result.chatNote = "its chat template writes " + std::string(marker) +
                        ", which is not an added token of its tokenizer";
      return;
    }
}

} // namespace sputnik
