//===- ChatTemplateReader.h - Which form a chat template has ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_CHATTEMPLATEREADER_H
#define SPUTNIK_IMPORTER_CHATTEMPLATEREADER_H

#include "runtime/chat/ChatForm.h"

#include "llvm/ADT/StringRef.h"

#include <string>

namespace sputnik {

/// What readChatTemplate found.
struct ChatTemplateReading {
  rt::ChatForm form;
  /// Why the form is not known, as a clause for an error message; else empty.
  std::string note;
};

/// Finds the form that lays out conversations as the Jinja template `text`
/// does, by rendering a set of probing conversations with the template and with
/// every form: the wording of a template does not matter, what it writes does.
/// `bos` and `eos` are the texts of the special tokens. Never fails: a template
/// that is damaged, uses what templates of this family do not use, or lays out
/// conversations in another way gives an unknown form and a note.
ChatTemplateReading readChatTemplate(llvm::StringRef text, llvm::StringRef bos,
                                     llvm::StringRef eos);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_CHATTEMPLATEREADER_H
