//===- ByteKeys.h - Products of queries and keys in bytes -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_BYTEKEYS_H
#define SPUTNIK_CODEGEN_CPU_BYTEKEYS_H

#include "codegen/cpu/DotPrimitive.h"
#include "codegen/cpu/Phase.h"

namespace sputnik::cpu {

/// The keys of a quantized cache, multiplied by the dot primitive of a weight in
/// `q8`. Where that multiplies bytes, queries are rounded as keys are: each block
/// of 32 features has a scale of its own, and so is a product of its own.
class ByteKeys {
public:
  static constexpr int64_t kPanel = DotPrimitive::kPanel;

  ByteKeys(Phase &p, r1::KVCacheType cache);

  /// Whether queries are rounded; f32 rows are queries elsewhere.
  bool roundsQueries() const { return dot.scalesActivations(); }
  /// Bytes of a query.
  int64_t getQueryBytes() const;
  /// Makes a query of a row of f32.
  void storeQuery(mlir::Value row, mlir::Value query) const;

  /// Called for each block of a panel with its address and bytes.
  using Visitor = llvm::function_ref<void(mlir::Value, int64_t)>;
  /// Products of `panels` panels of 16 keys, one behind the other, with queries:
  /// [panel * queries + query] of 16 lanes.
  llvm::SmallVector<mlir::Value> multiply(mlir::Value keys, int64_t panels,
                                          llvm::ArrayRef<mlir::Value> queries,
                                          Visitor visit) const;

private:
  int64_t blockBytes() const;

  Phase &p;
  r1::KVCacheType cache;
  DotPrimitive dot;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_BYTEKEYS_H
