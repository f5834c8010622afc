//===- WeightReport.h - What an image holds of each weight ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_WEIGHTREPORT_H
#define SPUTNIK_CODEGEN_WEIGHTS_WEIGHTREPORT_H

#include "dialect/R1.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <string>
#include <vector>

namespace sputnik {

/// One layer of a weight as it was written.
struct StoredWeight {
  std::string name;            ///< What the graph calls it.
  std::optional<int64_t> layer; ///< None for a weight without layers.
  r1::Scheme scheme = r1::Scheme::F32;
  uint64_t elements = 0;
  uint64_t bytes = 0; ///< With padding.
  /// Sums of squares over all elements, and of what encoding changed.
  double energy = 0, error = 0;

  double bits() const {
    return 8 * static_cast<double>(bytes) / static_cast<double>(elements);
  }
  /// Root mean square of the changes, as a fraction of that of the elements.
  double relativeError() const;
  /// Takes the sums and sizes of another weight in.
  void add(const StoredWeight &other);
};

/// Weights in the order of the image.
using WeightReport = std::vector<StoredWeight>;

/// A table: one line for each weight, then one for each format and one for all.
void printReport(const WeightReport &report, llvm::raw_ostream &os);

/// `{"weights": [...], "formats": [...], "total": {...}}`; each entry has
/// `format` (but the total), `elements`, `bytes`, `bits` and `relative_error`,
/// a weight also `name` and, if it has layers, `layer`.
llvm::json::Value reportAsJson(const WeightReport &report);

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_WEIGHTREPORT_H
