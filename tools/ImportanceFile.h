//===- ImportanceFile.h - Importance in a file ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A safetensors file: a tensor F32 [layers, columns] for each matrix, by the name
// that the matrix has in `--report`.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_TOOLS_IMPORTANCEFILE_H
#define SPUTNIK_TOOLS_IMPORTANCEFILE_H

#include "codegen/weights/Importance.h"
#include "passes/ObserveInputs.h"

#include "llvm/Support/Error.h"

namespace sputnik {

/// Reads what is there of `products`. Errors name the file and the tensor: what
/// SafeTensorsFile refuses; a product that the file says nothing of, or of other
/// layers and columns; a tensor that belongs to no product; a value that is
/// negative or not finite.
llvm::Expected<Importance>
readImportance(llvm::StringRef path,
               llvm::ArrayRef<r1::Observation> products);

/// Writes a file that appears whole or not at all.
llvm::Error writeImportance(llvm::StringRef path, const Importance &importance);

} // namespace sputnik

#endif // SPUTNIK_TOOLS_IMPORTANCEFILE_H
