//===- CacheHead.h - Keys and values of one KV head -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_CACHEHEAD_H
#define SPUTNIK_CODEGEN_CPU_CACHEHEAD_H

#include "codegen/cpu/Phase.h"

namespace sputnik::cpu {

/// What one KV head of one layer of a slot's cache holds, and how: kernels name
/// positions and features, and leave the layout to this.
class CacheHead {
public:
  static constexpr int64_t kPanel = r1::KVCacheType::kPanel;

  CacheHead(Phase &p, r1::KVCacheType cache, mlir::Value slot,
            mlir::Value layer, mlir::Value head);

  /// Writes the key (value) of one position: a row of f32.
  void storeKey(mlir::Value position, mlir::Value row) const;
  void storeValue(mlir::Value position, mlir::Value row) const;

  /// One feature as f32: slow, for the oracle.
  mlir::Value loadKey(mlir::Value position, mlir::Value feature) const;
  mlir::Value loadValue(mlir::Value position, mlir::Value feature) const;

  /// Where the keys of 16 positions lie; `position` is a multiple of 16.
  mlir::Value keysAt(mlir::Value position) const;
  /// One feature of 16 keys as f32; only in a cache of floats.
  mlir::Value loadKeys(mlir::Value position, mlir::Value feature) const;
  /// Features [feature, feature + 16) of a value as f32, yet without the scale.
  /// Only `exist` of them do; zeros stand for the others.
  mlir::Value loadValues(mlir::Value position, mlir::Value feature,
                         int64_t exist) const;
  /// Where the value of a position lies from `feature` on.
  mlir::Value valueAt(mlir::Value position, mlir::Value feature) const;
  /// Features of a value from `address` on as f32, yet without the scale.
  mlir::Value loadUnscaled(mlir::Value address, int64_t lanes) const;
  /// The scales of the values of 16 positions; only in a quantized cache.
  mlir::Value loadValueScales(mlir::Value position) const;

private:
  mlir::Value valueScalesAt(mlir::Value position) const;
  mlir::Value element(mlir::Value row, mlir::Value i, int64_t lanes) const;

  Phase &p;
  r1::KVCacheType cache;
  int64_t dim;
  mlir::Value keys, values;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_CACHEHEAD_H
