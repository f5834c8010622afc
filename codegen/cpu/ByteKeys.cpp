//===- ByteKeys.cpp - Products of queries and keys in bytes ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/ByteKeys.h"

#include "codegen/cpu/ByteRows.h"
#include "codegen/cpu/PanelTile.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static DotPrimitive choosePrimitive(Phase &p, r1::KVCacheType cache) {
  FailureOr<DotPrimitive> bytes = DotPrimitive::get(
      cache.getKeyEncoding(), p.b.getI8Type(), p.target);
  return succeeded(bytes) ? *bytes
                          : *DotPrimitive::get(cache.getKeyEncoding(),
                                               p.f32Type(), p.target);
}

ByteKeys::ByteKeys(Phase &p, r1::KVCacheType cache)
    : p(p), cache(cache), dot(choosePrimitive(p, cache)) {
  dot.prepare(p);
}

int64_t ByteKeys::blockBytes() const {
  int64_t block = cache.getKeyEncoding().getBlock();
  return roundsQueries() ? r1::getRowBytes(RankedTensorType::get(
                               {1, block}, p.b.getI8Type()))
                         : block * 4;
}

int64_t ByteKeys::getQueryBytes() const {
  int64_t dim = cache.getDim();
  return roundsQueries()
             ? llvm::divideCeil(dim, cache.getKeyEncoding().getBlock()) *
                   blockBytes()
             : dim * 4;
}

void ByteKeys::storeQuery(Value row, Value query) const {
  int64_t dim = cache.getDim(), block = cache.getKeyEncoding().getBlock();
  if (!roundsQueries()) {
    p.vectorLoop(dim, kPanel, [&](Value i, int64_t width) {
      Value at = p.mul(i, 4);
      p.storeFromF32(p.loadAsF32(p.f32Type(), p.at(row, at), width),
                     p.f32Type(), p.at(query, at));
    });
    return;
  }
  auto round = [&](Value index, int64_t width) {
    emitRoundedRow(p, p.at(row, p.mul(index, block * 4)),
                   p.at(query, p.mul(index, blockBytes())), width);
  };
  int64_t whole = dim / block;
  p.loop(p.i64(0), p.i64(whole), 1, [&](Value index) { round(index, block); });
  if (int64_t rest = dim % block)
    round(p.i64(whole), rest);
}

SmallVector<Value> ByteKeys::multiply(Value keys, int64_t panels,
                                      ArrayRef<Value> queries,
                                      Visitor visit) const {
  r1::EncodingAttr encoding = cache.getKeyEncoding();
  int64_t dim = cache.getDim(), block = encoding.getBlock();
  Value zero = p.splat(p.f32Vec(kPanel), 0.0);
  auto multiplyBlock = [&](Value index, int64_t width, ValueRange carried) {
    PanelGroup group{dot, {}};
    for (int64_t i = 0; i < panels; ++i) {
      Value at = p.at(keys, p.add(p.mul(index, encoding.getGroupBytes()),
                                  i * cache.getKeyPanelBytes()));
      visit(at, encoding.getGroupBytes());
      group.panels.push_back(dot.panelAt(p, at, block));
    }
    SmallVector<DotPrimitive::Row> rows;
    for (Value query : queries)
      rows.push_back(
          dot.rowAt(p, p.at(query, p.mul(index, blockBytes())), block));
    SmallVector<Value> sums(carried);
    if (roundsQueries())
      sums.assign(carried.size(), zero);
    sums = multiplyGroup(p, group, rows, p.i64(0), width, sums);
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = dot.finishGroup(p, sum, rows[i % rows.size()], p.i64(0),
                            carried[i]);
    return sums;
  };
  SmallVector<Value> sums(panels * queries.size(), zero);
  int64_t whole = dim / block;
  if (whole)
    sums = p.loop(p.i64(0), p.i64(whole), 1, sums,
                  [&](Value index, ValueRange carried) {
                    return multiplyBlock(index, block, carried);
                  });
  if (int64_t rest = dim % block)
    sums = multiplyBlock(p.i64(whole), rest, sums);
  return sums;
}
