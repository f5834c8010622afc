//===- Licence.h - Notes that licences ask users to see ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_IMPORTER_LICENCE_H
#define SPUTNIK_IMPORTER_LICENCE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

namespace sputnik {

/// What a user of an executable should know of the licences that models of this
/// architecture (`model_type`) usually come under. The model's own card has the
/// last word.
llvm::SmallVector<llvm::StringRef> licenceNotes(llvm::StringRef modelType);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_LICENCE_H
