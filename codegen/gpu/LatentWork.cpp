//===- LatentWork.cpp - What kernels of latent attention share ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/LatentWork.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Rows, and coordinates, of a matrix product's operands.
static constexpr int64_t kTile = 16;
/// Most heads of a block on the tensor cores: their sums of 512 coordinates are
/// 128 in each thread.
static constexpr int64_t kMostHeads = 64;
/// Fewest positions that are worth a block of their own, where a block has few
/// heads, and where it has many.
static constexpr int64_t kSplitPositions = 256, kTileSplitPositions = 128;

LatentWork::LatentWork(Kernel &k, r1::LatentAttentionOp op)
    : heads(op.getHeads()), key(op.getQueryFeatures()),
      rotary(op.getKeyFeatures()), value(op.getValueFeatures()),
      latent(op.getLatentFeatures()), dim(latent + rotary) {
  r1::KVCacheType cache = op.getCache().getType();
  tensorCores = cache.getElement().isBF16() && latent % kTile == 0 &&
                rotary % kTile == 0 && heads >= kTile;
  blockHeads = tensorCores ? std::min<int64_t>(llvm::PowerOf2Ceil(heads),
                                               kMostHeads)
                           : kWarps;
  headBlocks = llvm::divideCeil(heads, blockHeads);
  queryElement = tensorCores ? cache.getElement() : k.f32Type();
  // Decode and verify split alike, for their results to be the same.
  splits = 1;
  if (k.phase.getKind() != r1::PhaseKind::Prefill)
    splits = tensorCores
                 ? std::clamp<int64_t>(k.target.getCores() / headBlocks, 1,
                                       std::max<int64_t>(
                                           1, cache.getPositions() /
                                                  kTileSplitPositions))
                 : chooseSplits(k.target, headBlocks,
                                cache.getPositions() / kSplitPositions);
  int64_t pieces = k.phase.getMaxRows() * heads;
  queries = k.allocateWorkspace(pieces * dim * k.bytesOf(queryElement));
  sets = k.allocateWorkspace(pieces * splits * setBytes());
}

Value LatentWork::queryOf(Kernel &k, Value head) const {
  Value piece = k.add(k.mul(k.rowTile, heads), head);
  return k.at(queries, k.mul(piece, dim * k.bytesOf(queryElement)));
}

Value LatentWork::setOf(Kernel &k, Value head, Value split) const {
  Value piece = k.add(k.mul(k.rowTile, heads), head);
  return k.at(sets, k.mul(k.add(k.mul(piece, splits), split), setBytes()));
}
