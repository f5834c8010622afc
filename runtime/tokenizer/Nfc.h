//===- Nfc.h - Normalization form C -----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_NFC_H
#define SPUTNIK_RUNTIME_TOKENIZER_NFC_H

#include <string>
#include <string_view>

namespace sputnik::rt {

/// `text` in Unicode's normalization form C. Bytes that are not UTF-8 stay as
/// they are and separate what lies around them. Returns `text` itself when it
/// is normalized already, else a view of `storage`. Takes time linear in the
/// text, but for runs of combining marks, which are sorted.
std::string_view normalizeNfc(std::string_view text, std::string &storage);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_NFC_H
