//===- LatentAttentionKernel.cpp - Attention over cached latents ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/HeadMatrices.h"
#include "codegen/cpu/StoredWeight.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

void sputnik::cpu::emitLatentAttention(Phase &p, r1::LatentAttentionOp op) {
  int64_t mark = p.scratchMark();
  if (op.getForm() == r1::LatentForm::Absorbed)
    emitAbsorbedAttention(p, op);
  else
    emitExpandedAttention(p, op);
  p.restoreScratch(mark);
}

void sputnik::cpu::emitPlainLatentAttention(Phase &p,
                                            r1::LatentAttentionOp op) {
  r1::KVCacheType cache = op.getCache().getType();
  Type element = cache.getElement();
  int64_t heads = op.getHeads(), key = op.getQueryFeatures(),
          rotary = op.getKeyFeatures(), value = op.getValueFeatures(),
          latent = op.getLatentFeatures(), bytes = p.bytesOf(element);
  bool absorbed = op.getForm() == r1::LatentForm::Absorbed;
  HeadMatrices keys(p, op, op.getKeysAttr()), values(p, op, op.getValuesAttr());
  const Rows query = p.rows(op.getQuery()), rotaryQuery = p.rows(op.getRotary()),
             out = p.rows(op.getResult());
  auto sumOver = [&](int64_t count, function_ref<Value(Value)> term) {
    return p.loop(p.i64(0), p.i64(count), 1, {p.f32(0)},
                  [&](Value i, ValueRange sums) -> SmallVector<Value> {
                    return {p.addf(sums[0], term(i))};
                  })[0];
  };
  p.loop(p.thread, p.mul(query.count, heads), p.threads, [&](Value item) {
    Value row = p.div(item, heads), head = p.rem(item, heads);
    Value length = p.add(p.index(op.getPositions(), row), 1);
    Value layer =
        cacheLayerPtr(p, cache, p.index(op.getSlots(), row), op.getLayer());
    auto floatAt = [&](const Rows &rows, int64_t size, Value i) {
      Value index = p.add(p.mul(head, size), i);
      return p.at(p.rowPtr(rows, row), p.mul(index, 4));
    };
    auto load = [&](Value ptr) { return p.load(p.f32Type(), ptr, 4); };
    auto cached = [&](Value position, Value i) {
      Value index = p.add(p.mul(position, cache.getDim()), i);
      return p.loadAsF32(element, p.at(layer, p.mul(index, bytes)));
    };
    auto weight = [&](const HeadMatrices &m, Value n, Value c) {
      return loadWeight(p, m.encoding, m.columns, m.base,
                        p.add(p.mul(head, m.rows), n), c);
    };
    auto score = [&](Value position) {
      Value own = sumOver(key, [&](Value d) {
        Value k = sumOver(latent, [&](Value c) {
          return p.mulf(absorbed ? weight(keys, c, d) : weight(keys, d, c),
                        cached(position, c));
        });
        return p.mulf(load(floatAt(query, key, d)), k);
      });
      Value shared = sumOver(rotary, [&](Value d) {
        return p.mulf(load(floatAt(rotaryQuery, rotary, d)),
                      cached(position, p.add(d, latent)));
      });
      return p.mulf(p.addf(own, shared), p.f32(op.getScale().convertToFloat()));
    };
    // Scores of all positions do not fit any scratch: they are formed twice.
    Value peak = p.loop(p.i64(0), length, 1,
                        {p.f32(-std::numeric_limits<float>::max())},
                        [&](Value t, ValueRange m) -> SmallVector<Value> {
                          return {p.maxf(m[0], score(t))};
                        })[0];
    p.loop(p.i64(0), p.i64(value), 1, [&](Value d) {
      p.store(p.f32(0), floatAt(out, value, d), 4);
    });
    Value total = p.loop(
        p.i64(0), length, 1, {p.f32(0)},
        [&](Value t, ValueRange sums) -> SmallVector<Value> {
          Value e = p.exp(p.subf(score(t), peak));
          p.loop(p.i64(0), p.i64(value), 1, [&](Value d) {
            Value v = sumOver(latent, [&](Value c) {
              return p.mulf(weight(values, d, c), cached(t, c));
            });
            Value at = floatAt(out, value, d);
            p.store(p.addf(load(at), p.mulf(e, v)), at, 4);
          });
          return {p.addf(sums[0], e)};
        })[0];
    p.loop(p.i64(0), p.i64(value), 1, [&](Value d) {
      Value at = floatAt(out, value, d);
      p.store(p.divf(load(at), total), at, 4);
    });
  });
}
