//===- PlainAttention.cpp - Attention by its definition -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What -O0 runs, to compare other kernels with: a row and a head at a time, in plain
// loops. Scores of all positions do not fit any scratch, so they are formed twice.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/CacheHead.h"
#include "codegen/cpu/HeadMatrices.h"
#include "codegen/cpu/StoredWeight.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

/// One head of one row.
struct PlainHead {
  Value length; ///< Positions that it sees.
  function_ref<Value(Value position)> score;
  function_ref<Value(Value position, Value feature)> value;
  int64_t features; ///< Of a value.
  Value result;     ///< [features] f32.
};

} // namespace

static Value sumOver(Phase &p, int64_t count, function_ref<Value(Value)> term) {
  return p.loop(p.i64(0), p.i64(count), 1, {p.f32(0)},
                [&](Value i, ValueRange sums) -> SmallVector<Value> {
                  return {p.addf(sums[0], term(i))};
                })[0];
}

static void attend(Phase &p, const PlainHead &head) {
  auto forFeatures = [&](function_ref<Value(Value, Value)> next) {
    p.loop(p.i64(0), p.i64(head.features), 1, [&](Value d) {
      Value at = p.at(head.result, p.mul(d, 4));
      p.store(next(d, p.load(p.f32Type(), at, 4)), at, 4);
    });
  };
  Value peak = p.loop(p.i64(0), head.length, 1,
                      {p.f32(-std::numeric_limits<float>::max())},
                      [&](Value t, ValueRange m) -> SmallVector<Value> {
                        return {p.maxf(m[0], head.score(t))};
                      })[0];
  forFeatures([&](Value, Value) { return p.f32(0); });
  Value total = p.loop(
      p.i64(0), head.length, 1, {p.f32(0)},
      [&](Value t, ValueRange sums) -> SmallVector<Value> {
        Value e = p.exp(p.subf(head.score(t), peak));
        forFeatures([&](Value d, Value sum) {
          return p.addf(sum, p.mulf(e, head.value(t, d)));
        });
        return {p.addf(sums[0], e)};
      })[0];
  forFeatures([&](Value, Value sum) { return p.divf(sum, total); });
}

void sputnik::cpu::emitPlainAttention(Phase &p, r1::RegionOp region,
                                      r1::AttentionOp op) {
  r1::KVCacheType cache = op.getCache().getType();
  int64_t dim = cache.getDim();
  const Rows in = p.rows(op.getQuery()), out = p.rows(op.getResult());
  int64_t heads = in.features / dim, group = heads / cache.getHeads();
  p.loop(p.thread, p.mul(in.count, heads), p.threads, [&](Value item) {
    Value row = p.div(item, heads), head = p.rem(item, heads);
    CacheHead stored(p, cache, p.index(op.getSlots(), row), op.getLayer(),
                     p.div(head, group));
    Value offset = p.mul(head, dim * 4);
    Value query = p.at(p.rowPtr(in, row), offset);
    auto score = [&](Value position) {
      Value sum = sumOver(p, dim, [&](Value d) {
        return p.mulf(p.load(p.f32Type(), p.at(query, p.mul(d, 4)), 4),
                      stored.loadKey(position, d));
      });
      return p.mulf(sum, p.f32(op.getScale().convertToFloat()));
    };
    auto value = [&](Value position, Value d) {
      return stored.loadValue(position, d);
    };
    attend(p, {p.add(p.index(op.getPositions(), row), 1), score, value, dim,
               p.at(p.rowPtr(out, row), offset)});
  });
}

void sputnik::cpu::emitPlainLatentAttention(Phase &p,
                                            r1::LatentAttentionOp op) {
  r1::KVCacheType cache = op.getCache().getType();
  Type element = cache.getElement();
  int64_t heads = op.getHeads(), key = op.getQueryFeatures(),
          rotary = op.getKeyFeatures(), features = op.getValueFeatures(),
          latent = op.getLatentFeatures(), bytes = p.bytesOf(element);
  bool absorbed = op.getForm() == r1::LatentForm::Absorbed;
  HeadMatrices keys(p, op, op.getKeysAttr()), values(p, op, op.getValuesAttr());
  const Rows query = p.rows(op.getQuery()), rotaryQuery = p.rows(op.getRotary()),
             out = p.rows(op.getResult());
  p.loop(p.thread, p.mul(query.count, heads), p.threads, [&](Value item) {
    Value row = p.div(item, heads), head = p.rem(item, heads);
    Value layer =
        cacheLayerPtr(p, cache, p.index(op.getSlots(), row), op.getLayer());
    auto headOf = [&](const Rows &rows, int64_t size) {
      return p.at(p.rowPtr(rows, row), p.mul(head, size * 4));
    };
    auto load = [&](const Rows &rows, int64_t size, Value i) {
      return p.load(p.f32Type(), p.at(headOf(rows, size), p.mul(i, 4)), 4);
    };
    auto cached = [&](Value position, Value i) {
      Value index = p.add(p.mul(position, cache.getDim()), i);
      return p.loadAsF32(element, p.at(layer, p.mul(index, bytes)));
    };
    auto weight = [&](const HeadMatrices &m, Value n, Value c) {
      return loadWeight(p, m.encoding, m.columns, m.base,
                        p.add(p.mul(head, m.rows), n), c);
    };
    auto score = [&](Value position) {
      Value own = sumOver(p, key, [&](Value d) {
        Value k = sumOver(p, latent, [&](Value c) {
          return p.mulf(absorbed ? weight(keys, c, d) : weight(keys, d, c),
                        cached(position, c));
        });
        return p.mulf(load(query, key, d), k);
      });
      Value shared = sumOver(p, rotary, [&](Value d) {
        return p.mulf(load(rotaryQuery, rotary, d),
                      cached(position, p.add(d, latent)));
      });
      return p.mulf(p.addf(own, shared), p.f32(op.getScale().convertToFloat()));
    };
    auto value = [&](Value position, Value d) {
      return sumOver(p, latent, [&](Value c) {
        return p.mulf(weight(values, d, c), cached(position, c));
      });
    };
    attend(p, {p.add(p.index(op.getPositions(), row), 1), score, value,
               features, headOf(out, features)});
  });
}
