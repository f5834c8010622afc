//===- ByteCache.h - Keys and values in bytes -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_BYTECACHE_H
#define SPUTNIK_CODEGEN_GPU_BYTECACHE_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// One KV head of one layer of a slot's cache that is quantized: where things lie,
/// as r1::KVCacheType says.
class ByteCache {
public:
  /// `head` is the address that Kernel::cacheHeadPtr gives.
  ByteCache(Kernel &k, r1::KVCacheType cache, mlir::Value head)
      : k(k), cache(cache), keys(head),
        values(k.at(head, cache.getKeyBytes())) {}

  /// Coordinates of a key that have a scale, and blocks of a key.
  static constexpr int64_t kBlock = r1::kQuantBlock;
  int64_t keyBlocks() const { return (cache.getDim() + kBlock - 1) / kBlock; }
  /// Bytes from four coordinates of a key to the next four.
  static constexpr int64_t kKeyWordStride = r1::KVCacheType::kPanel * 4;
  /// The scale of a block of a position's key, and its first four coordinates.
  mlir::Value keyScale(mlir::Value position, mlir::Value block) const;
  mlir::Value keyWord(mlir::Value position, mlir::Value block) const;
  mlir::Value valueScale(mlir::Value position) const;
  mlir::Value value(mlir::Value position, mlir::Value coordinate) const;

  /// Writes the keys (values) of one position: f32 `row` has `features`, those of
  /// whole heads from this one on. The team shares them out.
  void appendKeys(mlir::Value position, mlir::Value row,
                  int64_t features) const;
  void appendValues(mlir::Value position, mlir::Value row,
                    int64_t features) const;

private:
  mlir::Value inPanel(mlir::Value position) const;
  int64_t headBytes() const {
    return cache.getKeyBytes() + cache.getValueBytes();
  }

  Kernel &k;
  r1::KVCacheType cache;
  mlir::Value keys, values;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_BYTECACHE_H
