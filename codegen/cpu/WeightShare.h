//===- WeightShare.h - Which rows of weights threads read -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_WEIGHTSHARE_H
#define SPUTNIK_CODEGEN_CPU_WEIGHTSHARE_H

#include "dialect/R1.h"

#include "llvm/ADT/SmallVector.h"

#include <optional>

namespace sputnik::cpu {

/// What becomes an abi::WeightShare: a layer of a weight is equal parts, each of
/// units, which threads share out.
struct WeightShare {
  r1::DerivedOp weight;
  int64_t parts, partBytes, unitBytes;

  /// The last unit of a part may be short.
  int64_t getUnits() const;
};

/// How threads share `matrix` in a region around `product`; nothing if they do
/// not, or not by whole panels.
std::optional<WeightShare> getWeightShare(r1::RegionOp region,
                                          r1::ProductInterface product,
                                          mlir::FlatSymbolRefAttr matrix);

/// The shares of all matrices that `regions` multiply with, each once.
llvm::SmallVector<WeightShare>
listWeightShares(llvm::ArrayRef<r1::RegionOp> regions);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_WEIGHTSHARE_H
