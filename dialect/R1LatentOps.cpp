//===- R1LatentOps.cpp - Latent attention ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "dialect/R1.h"
#include "dialect/WeightUse.h"

using namespace mlir;
using namespace sputnik::r1;

Locality LatentAppendOp::getLocality() { return Locality::Sink; }
LogicalResult LatentAppendOp::verify() {
  KVCacheType cache = getCache().getType();
  int64_t latent = features(getLatent()), key = features(getKey());
  if (latent != cache.getLatent() || latent + key != cache.getDim())
    return emitOpError("cannot write ")
           << latent << " and " << key << " features to " << cache;
  return success();
}

Locality LatentAttentionOp::getLocality() { return Locality::Anchor; }
void LatentAttentionOp::getWeights(
    SmallVectorImpl<FlatSymbolRefAttr> &weights) {
  weights.push_back(getKeysAttr());
  weights.push_back(getValuesAttr());
}
Value LatentAttentionOp::getLayerIndex() { return getLayer(); }
void LatentAttentionOp::getMatrices(
    SmallVectorImpl<FlatSymbolRefAttr> &matrices) {
  getWeights(matrices);
}
int64_t LatentAttentionOp::getMatrixParts() { return getHeads(); }
LogicalResult LatentAttentionOp::verify() {
  KVCacheType cache = getCache().getType();
  int64_t key = cache.getDim() - cache.getLatent();
  if (!cache.getLatent() || key <= 0)
    return emitOpError("needs a cache of latents and rotary keys, found ")
           << cache;
  int64_t rotary = features(getRotary());
  if (rotary % key || features(getQuery()) % (rotary / key) ||
      features(getResult()) % (rotary / key))
    return emitOpError("needs equal heads, found ")
           << features(getQuery()) << ", " << rotary << " and "
           << features(getResult()) << " features with rotary keys of " << key;
  return success();
}
LogicalResult
LatentAttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t query = getQueryFeatures(), latent = getLatentFeatures();
  bool absorbed = getForm() == LatentForm::Absorbed;
  SmallVector<int64_t> keys = {query, latent};
  if (absorbed)
    keys = {latent, query};
  if (failed(verifyWeight(*this, symbols, getKeysAttr(), getLayer(), keys,
                          getHeads())))
    return failure();
  return verifyWeight(*this, symbols, getValuesAttr(), getLayer(),
                      {getValueFeatures(), latent}, getHeads());
}
