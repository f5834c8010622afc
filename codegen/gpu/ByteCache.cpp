//===- ByteCache.cpp - Keys and values in bytes -----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/ByteCache.h"

#include "codegen/gpu/ByteRows.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

static constexpr int64_t kPanel = r1::KVCacheType::kPanel;

Value ByteCache::inPanel(Value position) const {
  return k.mul(k.rem(position, kPanel), 4);
}

Value ByteCache::keyScale(Value position, Value block) const {
  Value offset = k.add(
      k.mul(k.div(position, kPanel), cache.getKeyPanelBytes()),
      k.mul(block, cache.getKeyEncoding().getGroupBytes()));
  return k.at(keys, k.add(offset, inPanel(position)));
}

Value ByteCache::keyWord(Value position, Value block) const {
  return k.at(keyScale(position, block),
              cache.getKeyEncoding().getGroupScaleBytes());
}

Value ByteCache::valueScale(Value position) const {
  return k.at(values,
              k.add(k.mul(k.div(position, kPanel), cache.getValuePanelBytes()),
                    inPanel(position)));
}

Value ByteCache::value(Value position, Value coordinate) const {
  // Behind the scales of this panel and those before.
  Value scales = k.mul(k.add(k.div(position, kPanel), 1), kPanel * 4);
  return k.at(values, k.add(k.add(k.mul(position, cache.getDim()), coordinate),
                            scales));
}

void ByteCache::appendKeys(Value position, Value row,
                           int64_t features) const {
  int64_t dim = cache.getDim(), heads = features / dim;
  int64_t whole = dim / kBlock, rest = dim % kBlock;
  auto append = [&](int64_t first, int64_t count, int64_t width) {
    // Blocks of all heads.
    auto headOf = [&](Value index) { return k.div(index, count); };
    auto blockOf = [&](Value index) {
      return k.add(k.rem(index, count), first);
    };
    auto at = [&](Value address, Value index) {
      return k.at(address, k.mul(headOf(index), headBytes()));
    };
    roundBlocks(
        k,
        {heads * count, width,
         [&](Value index, Value feature) {
           Value start = k.add(k.mul(headOf(index), dim),
                               k.mul(blockOf(index), kBlock));
           return k.load(k.f32Type(),
                         k.at(row, k.mul(k.add(start, feature), 4)), 4);
         },
         [&](Value index, Value feature, Value byte) {
           Value offset = k.add(k.mul(k.div(feature, 4), kKeyWordStride),
                                k.rem(feature, 4));
           k.store(byte,
                   k.at(at(keyWord(position, blockOf(index)), index), offset),
                   1);
         },
         [&](Value index, Value scale) {
           k.store(scale, at(keyScale(position, blockOf(index)), index), 4);
         }});
  };
  if (whole)
    append(0, whole, kBlock);
  if (rest)
    append(whole, 1, rest);
}

void ByteCache::appendValues(Value position, Value row,
                             int64_t features) const {
  int64_t dim = cache.getDim();
  auto at = [&](Value address, Value head) {
    return k.at(address, k.mul(head, headBytes()));
  };
  roundBlocks(
      k, {features / dim, dim,
          [&](Value head, Value feature) {
            Value index = k.add(k.mul(head, dim), feature);
            return k.load(k.f32Type(), k.at(row, k.mul(index, 4)), 4);
          },
          [&](Value head, Value feature, Value byte) {
            k.store(byte, at(value(position, feature), head), 1);
          },
          [&](Value head, Value scale) {
            k.store(scale, at(valueScale(position), head), 4);
          }});
}
