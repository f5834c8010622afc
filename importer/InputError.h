//===- InputError.h - One-line errors about the user's files ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_INPUTERROR_H
#define SPUTNIK_IMPORTER_INPUTERROR_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>

namespace sputnik {

/// The error `file: message`. Neither may hold text from the file that did not
/// pass through `quoted`.
llvm::Error inputError(llvm::StringRef file, const llvm::Twine &message);

/// `text` in single quotes, made fit for one line of a terminal: control bytes
/// and bytes that are not UTF-8 become \xNN, and a long text is cut.
std::string quoted(llvm::StringRef text);

/// `[2, 3]`.
std::string shapeText(llvm::ArrayRef<int64_t> shape);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_INPUTERROR_H
