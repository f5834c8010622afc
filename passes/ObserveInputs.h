//===- ObserveInputs.h - Records of what linears take -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_PASSES_OBSERVEINPUTS_H
#define SPUTNIK_PASSES_OBSERVEINPUTS_H

#include "dialect/R1.h"

#include <string>
#include <vector>

namespace sputnik::r1 {

/// On a product whose input rows are observed: the first byte of its records, an
/// i64 attribute.
inline constexpr llvm::StringLiteral kObservedAttr = "r1.observed";

/// What is gathered of the rows that a matrix is multiplied with: one record for
/// each layer, one after the other from `offset` bytes on. A record is f64
/// numbers: the sum of the squares of each of `columns` features, then the
/// number of rows.
struct Observation {
  std::string weight;
  int64_t layers, columns, offset;

  static int64_t getRecordBytes(int64_t columns) { return (columns + 1) * 8; }
  int64_t getBytes() const { return layers * getRecordBytes(columns); }
};

/// The observations that r1-observe-inputs asks for: one for each product of
/// the prefill phase that takes rows, in the order of their offsets.
std::vector<Observation> listObservations(mlir::ModuleOp module);

} // namespace sputnik::r1

#endif // SPUTNIK_PASSES_OBSERVEINPUTS_H
