//===- LatentWork.h - What kernels of latent attention share ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_LATENTWORK_H
#define SPUTNIK_CODEGEN_GPU_LATENTWORK_H

#include "codegen/gpu/Region.h"

namespace sputnik::gpu {

/// Sizes of absorbed latent attention, and where its kernels leave what the next
/// one reads.
struct LatentWork {
  LatentWork(Kernel &k, r1::LatentAttentionOp op);

  /// Address of head `head` of this block's row in the space of the latents:
  /// [latent + rotary] of `queryElement`, multiplied with the scale and log2 e.
  mlir::Value queryOf(Kernel &k, mlir::Value head) const;
  /// What a part of the positions gives: the maximum of the scores, the sum of
  /// the weights 2^(score - maximum), [latent] weighted latents, in f32.
  mlir::Value setOf(Kernel &k, mlir::Value head, mlir::Value split) const;
  int64_t setBytes() const { return (latent + 2) * 4; }

  /// Whether attention is by emitLatentTiles.
  bool tensorCores;
  int64_t heads, key, rotary, value, latent, dim;
  /// Heads of a block that attends, and how many such blocks a row has, each of
  /// which `splits` share.
  int64_t blockHeads, headBlocks, splits;
  mlir::Type queryElement;

private:
  mlir::Value queries; ///< [row][head] queries.
  mlir::Value sets;    ///< [row][head][split] sets.
};

/// Scores and weighted sums of latents on the tensor cores.
Grid emitLatentTiles(Kernel &k, r1::LatentAttentionOp op,
                     const LatentWork &work);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_LATENTWORK_H
