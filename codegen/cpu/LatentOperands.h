//===- LatentOperands.h - What latent attention reads and writes *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_LATENTOPERANDS_H
#define SPUTNIK_CODEGEN_CPU_LATENTOPERANDS_H

#include "codegen/cpu/HeadMatrices.h"

namespace sputnik::cpu {

/// The sizes, the weights, the rows and the cache of a latent attention, in either
/// form.
class LatentOperands {
protected:
  LatentOperands(Phase &p, r1::LatentAttentionOp op);

  /// Whether products with latents may be in bf16.
  bool isNarrow() const { return cache.getElement().isBF16(); }
  float getScale() { return op.getScale().convertToFloat(); }
  /// `size` f32 features of a head in a row.
  mlir::Value headOf(const Rows &rows, mlir::Value row, mlir::Value head,
                     int64_t size);
  /// Positions that a row sees.
  mlir::Value lengthOf(mlir::Value row);
  /// The cache of a row's slot, in this layer.
  mlir::Value layerOf(mlir::Value row);

  /// Makes latentsAt() ready for `positions` of `element` at a time.
  void reserveLatents(mlir::Type element, int64_t positions);
  /// The first latent of `positions` from `first` on, as bf16 or f32, each with
  /// its rotary key behind it; those behind follow every `latentBytes(element)`.
  /// Positions up to the next multiple of 16 exist.
  mlir::Value latentsAt(mlir::Value layer, mlir::Value first,
                        mlir::Value positions, mlir::Type element);
  int64_t latentBytes(mlir::Type element) {
    return cache.getDim() * p.bytesOf(element);
  }

  Phase &p;
  r1::LatentAttentionOp op;
  const r1::KVCacheType cache;
  /// Heads; features of a head's query, of its rotary part, of its value, and of
  /// a latent.
  const int64_t heads, key, rotary, value, latent;
  HeadMatrices keys, values;
  const Rows query, rotaryQuery, out;

private:
  /// Latents as f32, where the cache has others.
  mlir::Value widened;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_LATENTOPERANDS_H
