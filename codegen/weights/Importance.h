//===- Importance.h - How much errors of columns count ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_IMPORTANCE_H
#define SPUTNIK_CODEGEN_WEIGHTS_IMPORTANCE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sputnik {

/// The mean squares of the features that each matrix is multiplied with, by the
/// name of the matrix.
class Importance {
public:
  struct Matrix {
    int64_t layers = 0, columns = 0;
    std::vector<float> values; ///< [layers][columns], finite, not negative.
  };

  std::map<std::string, Matrix, std::less<>> matrices;

  /// Those of one layer; empty for a matrix that there is nothing of.
  llvm::ArrayRef<float> find(llvm::StringRef name, int64_t layer) const {
    auto it = matrices.find(name);
    if (it == matrices.end())
      return {};
    const Matrix &matrix = it->second;
    return llvm::ArrayRef(matrix.values)
        .slice(layer * matrix.columns, matrix.columns);
  }
};

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_IMPORTANCE_H
