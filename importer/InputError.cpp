//===- InputError.cpp - One-line errors about the user's files ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/InputError.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"

using namespace llvm;

namespace sputnik {

Error inputError(StringRef file, const Twine &message) {
  return createStringError(inconvertibleErrorCode(), file + ": " + message);
}

std::string quoted(StringRef text) {
  constexpr size_t limit = 96;
  const bool cut = text.size() > limit;
  StringRef shown = text.take_front(limit);
  if (cut)
    while (!shown.empty() && !json::isUTF8(shown) && shown.size() > limit - 3)
      shown = shown.drop_back();
  const bool utf8 = json::isUTF8(shown);
  std::string result = "'";
  for (unsigned char c : shown) {
    // C1 control characters are U+0080..U+009F; a terminal may act on them.
    const bool plain = c >= 0x20 && c != 0x7f && (c < 0x80 || utf8);
    if (plain &&
        !(c >= 0x80 && c <= 0x9f && StringRef(result).ends_with("\xc2"))) {
      result += static_cast<char>(c);
      continue;
    }
    if (StringRef(result).ends_with("\xc2")) {
      result.pop_back();
      result += "\\xc2";
    }
    result += "\\x" + utohexstr(c, /*LowerCase=*/true, /*Width=*/2);
  }
  return result + (cut ? "...'" : "'");
}

std::string shapeText(ArrayRef<int64_t> shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

} // namespace sputnik
