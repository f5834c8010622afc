//===- LatentOperands.cpp - What latent attention reads and writes --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/LatentOperands.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = r1::KVCacheType::kPanel;

LatentOperands::LatentOperands(Phase &p, r1::LatentAttentionOp op)
    : p(p), op(op), cache(op.getCache().getType()), heads(op.getHeads()),
      key(op.getQueryFeatures()), rotary(op.getKeyFeatures()),
      value(op.getValueFeatures()), latent(op.getLatentFeatures()),
      keys(p, op, op.getKeysAttr()), values(p, op, op.getValuesAttr()),
      query(p.rows(op.getQuery())), rotaryQuery(p.rows(op.getRotary())),
      out(p.rows(op.getResult())) {}

Value LatentOperands::headOf(const Rows &rows, Value row, Value head,
                             int64_t size) {
  return p.at(p.rowPtr(rows, row), p.mul(head, size * 4));
}

Value LatentOperands::lengthOf(Value row) {
  return p.add(p.index(op.getPositions(), row), 1);
}

Value LatentOperands::layerOf(Value row) {
  return cacheLayerPtr(p, cache, p.index(op.getSlots(), row), op.getLayer());
}

void LatentOperands::reserveLatents(Type element, int64_t positions) {
  if (element != cache.getElement() && !widened)
    widened = p.allocateScratch(positions * latentBytes(element) + 64);
}

Value LatentOperands::latentsAt(Value layer, Value first, Value positions,
                                Type element) {
  Type stored = cache.getElement();
  Value from = p.at(layer, p.mul(first, latentBytes(stored)));
  if (stored == element)
    return from;
  Value size = p.mul(p.ceilDiv(positions, kPanel), kPanel * cache.getDim());
  p.loop(p.i64(0), size, kPanel, [&](Value i) {
    Value x = p.loadAsF32(stored, p.at(from, p.mul(i, p.bytesOf(stored))),
                          kPanel);
    p.store(x, p.at(widened, p.mul(i, 4)), 4);
  });
  return widened;
}
