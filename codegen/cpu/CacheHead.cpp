//===- CacheHead.cpp - Keys and values of one KV head ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/CacheHead.h"

#include "codegen/cpu/ByteRows.h"
#include "codegen/cpu/DotPrimitive.h"
#include "codegen/cpu/StoredWeight.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

CacheHead::CacheHead(Phase &p, r1::KVCacheType cache, Value slot, Value layer,
                     Value head)
    : p(p), cache(cache), dim(cache.getDim()) {
  keys = p.at(cacheLayerPtr(p, cache, slot, layer),
              p.mul(head, cache.getKeyBytes() + cache.getValueBytes()));
  values = p.at(keys, cache.getKeyBytes());
}

Value CacheHead::element(Value row, Value i, int64_t lanes) const {
  return p.loadAsF32(p.f32Type(), p.at(row, p.mul(i, 4)), lanes);
}

Value CacheHead::keysAt(Value position) const {
  return p.at(keys, p.mul(p.div(position, kPanel), cache.getKeyPanelBytes()));
}

Value CacheHead::valueAt(Value position, Value feature) const {
  Value index = p.add(p.mul(position, dim), feature);
  Value offset = p.mul(index, p.bytesOf(cache.getElement()));
  if (cache.isQuantized()) // Behind the scales of this panel and those before.
    offset =
        p.add(offset, p.mul(p.add(p.div(position, kPanel), 1), kPanel * 4));
  return p.at(values, offset);
}

Value CacheHead::valueScalesAt(Value position) const {
  return p.at(values,
              p.mul(p.div(position, kPanel), cache.getValuePanelBytes()));
}

Value CacheHead::loadValueScales(Value position) const {
  return p.load(p.f32Vec(kPanel), valueScalesAt(position), 4);
}

Value CacheHead::loadUnscaled(Value address, int64_t lanes) const {
  if (!cache.isQuantized())
    return p.loadAsF32(cache.getElement(), address, lanes);
  auto typeOf = [&](Type element) {
    return lanes == 1 ? element : Type(p.vecType(lanes, element));
  };
  Value bytes = p.load(typeOf(p.b.getI8Type()), address, 1);
  Value words = arith::ExtSIOp::create(p.b, p.loc,
                                       typeOf(p.b.getI32Type()), bytes);
  return arith::SIToFPOp::create(p.b, p.loc, typeOf(p.f32Type()), words);
}

Value CacheHead::loadKeys(Value position, Value feature) const {
  int64_t bytes = p.bytesOf(cache.getElement());
  return p.loadAsF32(cache.getElement(),
                     p.at(keysAt(position), p.mul(feature, kPanel * bytes)),
                     kPanel);
}

Value CacheHead::loadValues(Value position, Value feature,
                            int64_t exist) const {
  Value from = valueAt(position, feature);
  if (exist >= kPanel)
    return loadUnscaled(from, kPanel);
  Value part = p.splat(p.f32Vec(kPanel), 0.0);
  for (int64_t i = 0; i < exist; ++i)
    part = vector::InsertOp::create(
        p.b, p.loc,
        loadUnscaled(p.at(from, i * p.bytesOf(cache.getElement())), 1), part,
        ArrayRef<int64_t>{i});
  return part;
}

Value CacheHead::loadKey(Value position, Value feature) const {
  if (cache.isQuantized())
    return loadWeight(p, cache.getKeyEncoding(), dim, keys, position, feature);
  Value lane = p.add(p.mul(feature, kPanel), p.rem(position, kPanel));
  return p.loadAsF32(
      cache.getElement(),
      p.at(keysAt(position), p.mul(lane, p.bytesOf(cache.getElement()))));
}

Value CacheHead::loadValue(Value position, Value feature) const {
  Value value = loadUnscaled(valueAt(position, feature), 1);
  if (!cache.isQuantized())
    return value;
  Value scale = p.at(valueScalesAt(position), p.mul(p.rem(position, kPanel), 4));
  return p.mulf(value, p.load(p.f32Type(), scale, 4));
}

void CacheHead::storeKey(Value position, Value row) const {
  Value panel = keysAt(position), lane = p.rem(position, kPanel);
  Type element = cache.getElement();
  if (!cache.isQuantized()) {
    int64_t bytes = p.bytesOf(element);
    Value out = p.at(panel, p.mul(lane, bytes));
    p.vectorLoop(dim, kPanel, [&](Value i, int64_t width) {
      Value x = this->element(row, i, width);
      Value to = p.at(out, p.mul(i, kPanel * bytes));
      if (width == 1)
        return p.storeFromF32(x, element, to);
      if (!element.isF32())
        x = arith::TruncFOp::create(p.b, p.loc, p.vecType(width, element), x);
      for (int64_t j = 0; j < width; ++j)
        p.store(vector::ExtractOp::create(p.b, p.loc, x, ArrayRef<int64_t>{j}),
                p.at(to, j * kPanel * bytes), bytes);
    });
    return;
  }
  r1::EncodingAttr encoding = cache.getKeyEncoding();
  constexpr int64_t lanes = RoundedBytes::kLanes;
  Type words = p.vecType(lanes / 4, p.b.getI32Type());
  auto storeBlock = [&](Value index, int64_t width) {
    SmallVector<Value> x;
    for (int64_t i = 0; i < width; i += lanes)
      x.push_back(this->element(
          row, p.add(p.mul(index, encoding.getBlock()), i), lanes));
    RoundedBytes rounded = roundToBytes(p, x);
    Value block = p.at(p.at(panel, p.mul(index, encoding.getGroupBytes())),
                       p.mul(lane, 4));
    p.store(rounded.scale, block, 4);
    Value quants = p.at(block, encoding.getGroupScaleBytes());
    for (auto [i, vector] : llvm::enumerate(rounded.words)) {
      // Four features of a key are one word of a line.
      Value four = LLVM::BitcastOp::create(p.b, p.loc, words,
                                           narrowToBytes(p, vector));
      for (int64_t j = 0; j < lanes / 4; ++j)
        p.store(vector::ExtractOp::create(p.b, p.loc, four,
                                          ArrayRef<int64_t>{j}),
                p.at(quants, (i * lanes / 4 + j) * kPanel * 4), 4);
    }
  };
  int64_t whole = dim / encoding.getBlock();
  p.loop(p.i64(0), p.i64(whole), 1,
         [&](Value index) { storeBlock(index, encoding.getBlock()); });
  if (int64_t rest = dim % encoding.getBlock())
    storeBlock(p.i64(whole), rest);
}

void CacheHead::storeValue(Value position, Value row) const {
  Value out = valueAt(position, p.i64(0));
  Type element = cache.getElement();
  if (!cache.isQuantized()) {
    p.vectorLoop(dim, p.lanes(), [&](Value i, int64_t width) {
      p.storeFromF32(this->element(row, i, width), element,
                     p.at(out, p.mul(i, p.bytesOf(element))));
    });
    return;
  }
  SmallVector<Value> x;
  for (int64_t i = 0; i < dim; i += RoundedBytes::kLanes)
    x.push_back(this->element(row, p.i64(i), RoundedBytes::kLanes));
  RoundedBytes rounded = roundToBytes(p, x);
  for (auto [i, words] : llvm::enumerate(rounded.words))
    p.store(narrowToBytes(p, words), p.at(out, i * RoundedBytes::kLanes), 1);
  p.store(rounded.scale,
          p.at(valueScalesAt(position), p.mul(p.rem(position, kPanel), 4)), 4);
}
