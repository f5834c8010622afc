//===- TokenizerBlobWriter.h - Lays out the tokenizer blob ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_TOKENIZERBLOBWRITER_H
#define SPUTNIK_IMPORTER_TOKENIZERBLOBWRITER_H

#include "importer/TokenizerSpec.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

namespace sputnik {

/// The blob of runtime/tokenizer/TokenizerBlob.h for `spec`. To be placed at a
/// multiple of rt::tokenizerBlobAlignment. The same spec gives the same bytes.
/// Fails when the tokens have more than 4 GiB of text or when their hashes
/// collide beyond measure.
llvm::Expected<llvm::SmallVector<char, 0>>
writeTokenizerBlob(const TokenizerSpec &spec);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_TOKENIZERBLOBWRITER_H
