//===- SafeTensors.h - The header of a safetensors file ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_SAFETENSORS_H
#define SPUTNIK_IMPORTER_SAFETENSORS_H

#include "importer/TensorRef.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <vector>

namespace sputnik {

/// The tensors of one safetensors file, in the order of their data.
class SafeTensorsFile {
public:
  /// Checks the header of the file whose content is `bytes`. `file` names it in
  /// errors, `index` becomes TensorRef::file. Enforces all of the format's
  /// rules: the tensors cover the data without a hole or an overlap, each has
  /// the size that its type and shape need, no name occurs twice.
  static llvm::Expected<SafeTensorsFile> parse(llvm::ArrayRef<uint8_t> bytes,
                                               llvm::StringRef file,
                                               unsigned index = 0);

  llvm::ArrayRef<TensorRef> tensors() const { return list; }
  std::vector<TensorRef> takeTensors() { return std::move(list); }

private:
  std::vector<TensorRef> list;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_SAFETENSORS_H
