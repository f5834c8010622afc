//===- MappedPages.h - Resident pages of mapped files -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_MAPPEDPAGES_H
#define SPUTNIK_CODEGEN_WEIGHTS_MAPPEDPAGES_H

#include "llvm/ADT/ArrayRef.h"

#include <cstdint>

namespace sputnik {

/// Reads `bytes` of a mapped file into memory. False if the file has become too
/// short or its disk fails, in which case touching the bytes would end the
/// process.
bool loadPages(llvm::ArrayRef<uint8_t> bytes);

/// Lets the process forget the pages that reading `bytes` of the file `mapping`
/// has brought in; touching them brings them back.
void releasePages(llvm::ArrayRef<uint8_t> bytes,
                  llvm::ArrayRef<uint8_t> mapping);

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_MAPPEDPAGES_H
