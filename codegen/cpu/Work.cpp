//===- Work.cpp - What code reads and computes ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Work.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// What one row needs of `all` of a weight of `user`.
static uint64_t fractionRead(r1::WeightUserInterface user, int64_t all) {
  return static_cast<uint64_t>(static_cast<double>(all) *
                               user.getFractionRead());
}

/// The bytes that one run of `user` reads of weights that are not in `seen` and
/// that `counts`; it looks up single rows of an embedding.
static uint64_t countWeightBytes(
    r1::WeightUserInterface user, llvm::DenseSet<Operation *> &seen,
    function_ref<bool(FlatSymbolRefAttr)> counts = [](FlatSymbolRefAttr) {
      return true;
    }) {
  if (isa<r1::EmbedOp>(user))
    return 0;
  uint64_t bytes = 0;
  SmallVector<FlatSymbolRefAttr> names;
  user.getWeights(names);
  for (FlatSymbolRefAttr name : llvm::make_filter_range(names, counts)) {
    RankedTensorType type = r1::lookupWeightType(user, name);
    Operation *weight = SymbolTable::lookupNearestSymbolFrom(user, name);
    if (seen.insert(weight).second)
      bytes += fractionRead(user,
                            r1::getEncoding(type).getBytes(type.getShape()));
  }
  return bytes;
}

Traffic sputnik::cpu::countTraffic(func::FuncOp decode) {
  Traffic traffic;
  llvm::DenseSet<Operation *> seen;
  decode.walk([&](r1::WeightUserInterface user) {
    auto layers = user->getParentOfType<r1::LayersOp>();
    uint64_t times = layers ? layers.getCount() : 1;
    traffic.bytes += times * countWeightBytes(user, seen);
    auto product = dyn_cast<r1::ProductInterface>(user.getOperation());
    if (!product)
      return;
    SmallVector<FlatSymbolRefAttr> matrices;
    product.getMatrices(matrices);
    for (FlatSymbolRefAttr matrix : matrices) {
      int64_t values = r1::lookupWeightType(user, matrix).getNumElements();
      uint64_t macs = times * fractionRead(user, values);
      traffic.macs += macs;
      if (!layers)
        traffic.headMacs += macs;
    }
  });
  return traffic;
}

/// Multiply-adds of one row with one position, and bytes of the cache there.
static void addPositions(RegionWork &work, Value cacheValue, int64_t macs) {
  auto cache = cast<r1::KVCacheType>(cacheValue.getType());
  work.positionBytes += cache.getTokenBytes() / cache.getLayers();
  work.positionMacs += macs;
}

RegionWork sputnik::cpu::countWork(r1::RegionOp region, StringRef phase,
                                   function_ref<bool(Operation *)> reads,
                                   bool readsCache) {
  RegionWork work;
  work.name = region.getName();
  work.phase = phase;
  work.perOutput = region.getNumResults() &&
                   r1::countsOutputs(region.getResult(0));
  llvm::DenseSet<Operation *> seen;
  region.walk([&](r1::WeightUserInterface user) {
    auto isRead = [&](FlatSymbolRefAttr name) {
      return reads(SymbolTable::lookupNearestSymbolFrom(user, name));
    };
    work.weightBytes += countWeightBytes(user, seen, isRead);
    if (auto product = dyn_cast<r1::ProductInterface>(user.getOperation())) {
      SmallVector<FlatSymbolRefAttr> matrices;
      product.getMatrices(matrices);
      for (FlatSymbolRefAttr matrix : llvm::make_filter_range(matrices, isRead))
        work.macs += fractionRead(
            user, r1::lookupWeightType(user, matrix).getNumElements());
    }
  });
  if (!readsCache)
    return work;
  region.walk([&](r1::AttentionOp op) {
    addPositions(work, op.getCache(), 2 * op.getType().getDimSize(1));
  });
  // Absorbed, scores and sums run over latents; expanded, over a head's own keys
  // and values, which many rows share.
  region.walk([&](r1::LatentAttentionOp op) {
    int64_t features =
        op.getForm() == r1::LatentForm::Absorbed
            ? 2 * op.getLatentFeatures() + op.getKeyFeatures()
            : op.getQueryFeatures() + op.getKeyFeatures() +
                  op.getValueFeatures();
    addPositions(work, op.getCache(), op.getHeads() * features);
  });
  return work;
}

RegionWork sputnik::cpu::countWork(r1::RegionOp region, StringRef phase) {
  return countWork(region, phase, [](Operation *) { return true; }, true);
}
