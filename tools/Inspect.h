//===- Inspect.h - What a model is ------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TOOLS_INSPECT_H
#define SPUTNIK_TOOLS_INSPECT_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

namespace sputnik {

/// Prints what the model at `path` (a folder, a GGUF file, or a folder with
/// only config.json) is and what compiling it would come to, as lines for
/// people or as one JSON object. That a model cannot be compiled, or its
/// tokenizer not be read, is part of the report; an error is only what keeps
/// the checkpoint from being opened.
llvm::Error inspectModel(llvm::StringRef path, bool json,
                         llvm::raw_ostream &os);

} // namespace sputnik

#endif // SPUTNIK_TOOLS_INSPECT_H
