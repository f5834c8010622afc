//===- LatentAttentionKernel.cpp - Attention over cached latents ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Expanded, the 16 lanes are rows of one head, whose keys and values are formed a
// block of positions at a time. A row's result does not depend on what else is in
// the step.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/HeadMatrices.h"
#include "codegen/cpu/QueryLanes.h"
#include "codegen/cpu/StoredWeight.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

constexpr int64_t kPanel = DotPrimitive::kPanel;
constexpr int64_t kLanes = QueryLanes::kLanes;
constexpr int64_t kBlock = QueryLanes::kBlock;

class LatentKernel {
public:
  LatentKernel(Phase &p, r1::LatentAttentionOp op)
      : p(p), op(op), cache(op.getCache().getType()), heads(op.getHeads()),
        key(op.getQueryFeatures()), rotary(op.getKeyFeatures()),
        value(op.getValueFeatures()), latent(op.getLatentFeatures()),
        keys(p, op, op.getKeysAttr()), values(p, op, op.getValuesAttr()),
        query(p.rows(op.getQuery())), rotaryQuery(p.rows(op.getRotary())),
        out(p.rows(op.getResult())) {
    keys.prepare(p);
    values.prepare(p);
    if (!cache.getElement().isF32())
      latents = p.allocateScratch(kBlock * cache.getDim() * 4 + 64);
    tile = p.target.getVectorRegisters() * p.target.getVectorBits() >= 32 * 512
               ? Tile{4, 4}
               : Tile{1, 4};
  }

  void emitExpanded();

private:
  Value headOf(const Rows &rows, Value row, Value head, int64_t size) {
    return p.at(p.rowPtr(rows, row), p.mul(head, size * 4));
  }
  Value scale() { return p.f32(op.getScale().convertToFloat()); }

  /// A block of a slot's latents as f32 rows.
  QueryLanes::Block loadLatents(Value layerPtr, Value first, Value count);
  /// Puts the rotary part of a query behind its first `behind` features.
  void setRotary(const QueryLanes &lanes, const QueryLanes::State &state,
                 Value lane, Value row, Value head, int64_t behind);
  void storeHead(Value row, Value head, Value panel, Value sum);

  /// Rows [first, first + count) of one slot.
  void emitRun(const QueryLanes &lanes, Value head, Value first, Value count);
  void expand(Value head, QueryLanes::Block from, Value count);

  Phase &p;
  r1::LatentAttentionOp op;
  r1::KVCacheType cache;
  int64_t heads, key, rotary, value, latent;
  HeadMatrices keys, values;
  const Rows query, rotaryQuery, out;
  Tile tile;
  Value latents;
  QueryLanes::Block expandedKeys, expandedValues;
  Value states;
};

} // namespace

QueryLanes::Block LatentKernel::loadLatents(Value layerPtr, Value first,
                                            Value count) {
  Type element = cache.getElement();
  int64_t dim = cache.getDim(), bytes = p.bytesOf(element);
  Value from = p.at(layerPtr, p.mul(first, dim * bytes));
  if (!latents)
    return {from, dim * 4};
  // Positions up to the next multiple of 16 exist.
  Value size = p.mul(p.ceilDiv(count, kLanes), kLanes * dim);
  p.loop(p.i64(0), size, kLanes, [&](Value i) {
    Value x = p.loadAsF32(element, p.at(from, p.mul(i, bytes)), kLanes);
    p.store(x, p.at(latents, p.mul(i, 4)), 4);
  });
  return {latents, dim * 4};
}

void LatentKernel::setRotary(const QueryLanes &lanes,
                             const QueryLanes::State &state, Value lane,
                             Value row, Value head, int64_t behind) {
  Value from = headOf(rotaryQuery, row, head, rotary);
  p.loop(p.i64(0), p.i64(rotary), 1, [&](Value i) {
    Value x = p.load(p.f32Type(), p.at(from, p.mul(i, 4)), 4);
    lanes.setQuery(state, p.add(i, behind), lane, p.mulf(x, scale()));
  });
}

void LatentKernel::storeHead(Value row, Value head, Value panel, Value sum) {
  Value first = p.mul(panel, kPanel);
  Value ptr = p.at(headOf(out, row, head, value), p.mul(first, 4));
  if (value % kPanel == 0)
    p.store(sum, ptr, 4);
  else
    storeLanes(p, sum, ptr, p.sub(p.i64(value), first));
}

/// Keys and values of one head for `count` positions of a block. Positions up to
/// the next multiple of 16 exist, in whole tiles.
void LatentKernel::expand(Value head, QueryLanes::Block from, Value count) {
  auto product = [&](const HeadMatrices &matrices, int64_t features,
                     QueryLanes::Block to) {
    p.loop(p.i64(0), count, tile.rows, [&](Value t) {
      SmallVector<Value> rows;
      for (int64_t i = 0; i < tile.rows; ++i)
        rows.push_back(p.at(from.ptr, p.mul(p.add(t, i), from.stride)));
      matrices.multiply(
          p, head, features, tile.panels, rows,
          [&](Value panel, const TileSums &sums) {
            for (auto [i, column] : llvm::enumerate(sums))
              for (auto [r, sum] : llvm::enumerate(column)) {
                Value row = p.at(to.ptr, p.mul(p.add(t, r), to.stride));
                p.store(sum, p.at(row, p.mul(p.add(panel, i), kPanel * 4)), 4);
              }
          });
    });
  };
  product(keys, key, expandedKeys);
  product(values, value, expandedValues);
  int64_t behind = llvm::alignTo(key, kPanel) * 4;
  p.loop(p.i64(0), count, 1, [&](Value t) {
    Value in = p.at(p.at(from.ptr, p.mul(t, from.stride)), latent * 4);
    Value to =
        p.at(p.at(expandedKeys.ptr, p.mul(t, expandedKeys.stride)), behind);
    p.vectorLoop(rotary, kLanes, [&](Value i, int64_t width) {
      Value at = p.mul(i, 4);
      p.storeFromF32(p.loadAsF32(p.f32Type(), p.at(in, at), width),
                     p.f32Type(), p.at(to, at));
    });
  });
}

void LatentKernel::emitRun(const QueryLanes &lanes, Value head, Value first,
                           Value count) {
  auto stateOf = [&](Value group) {
    return lanes.stateAt(p.at(states, p.mul(group, lanes.getStateBytes())));
  };
  Value groups = p.ceilDiv(count, kLanes);
  p.loop(p.i64(0), groups, 1,
         [&](Value group) { lanes.clear(stateOf(group)); });
  Value length = p.loop(
      p.i64(0), count, 1, {p.i64(0)},
      [&](Value i, ValueRange longest) -> SmallVector<Value> {
        Value row = p.add(first, i), lane = p.rem(i, kLanes);
        QueryLanes::State state = stateOf(p.div(i, kLanes));
        Value limit = p.add(p.index(op.getPositions(), row), 1);
        lanes.setLimit(state, lane, limit);
        Value from = headOf(query, row, head, key);
        p.loop(p.i64(0), p.i64(key), 1, [&](Value d) {
          Value x = p.load(p.f32Type(), p.at(from, p.mul(d, 4)), 4);
          lanes.setQuery(state, d, lane, p.mulf(x, scale()));
        });
        setRotary(lanes, state, lane, row, head, llvm::alignTo(key, kPanel));
        return {Value(
            arith::MaxSIOp::create(p.b, p.loc, longest[0], limit))};
      })[0];
  Value layer =
      cacheLayerPtr(p, cache, p.index(op.getSlots(), first), op.getLayer());
  p.loop(p.i64(0), length, kBlock, [&](Value start) {
    Value positions = p.min(p.i64(kBlock), p.sub(length, start));
    expand(head, loadLatents(layer, start, positions), positions);
    p.loop(p.i64(0), groups, 1, [&](Value group) {
      lanes.attend(stateOf(group), expandedKeys, expandedValues, start,
                   positions);
    });
  });
  p.loop(p.i64(0), count, 1, [&](Value i) {
    QueryLanes::State state = stateOf(p.div(i, kLanes));
    Value lane = p.rem(i, kLanes);
    lanes.normalize(state, lane);
    p.loop(p.i64(0), p.i64(llvm::divideCeil(value, kPanel)), 1,
           [&](Value panel) {
             Value sum = p.load(p.f32Vec(kPanel),
                                p.at(lanes.sumOf(state, lane),
                                     p.mul(panel, kPanel * 4)),
                                4);
             storeHead(p.add(first, i), head, panel, sum);
           });
  });
}

void LatentKernel::emitExpanded() {
  int64_t keyDim = llvm::alignTo(key, kPanel) + rotary;
  QueryLanes lanes(p, keyDim, value);
  expandedKeys = {p.allocateScratch(kBlock * keyDim * 4), keyDim * 4};
  expandedValues = {p.allocateScratch(kBlock * lanes.getSumStride()),
                    lanes.getSumStride()};
  states = p.allocateScratch(
      llvm::divideCeil(p.attr.getMaxRows(), kLanes) * lanes.getStateBytes());
  auto [firstHead, lastHead] = p.share(p.i64(heads));
  auto slotOf = [&](Value row) { return p.index(op.getSlots(), row); };
  p.loop(firstHead, lastHead, 1, [&](Value head) {
    p.loop(p.i64(0), query.count, 1, {p.i64(0)},
           [&](Value row, ValueRange begin) -> SmallVector<Value> {
             // A run of one slot's rows ends with this one, if the next row is
             // another's or there is none.
             Value next = p.add(row, 1);
             Value inside = p.min(next, p.sub(query.count, p.i64(1)));
             Value same = p.both(p.less(next, query.count),
                                 p.equal(slotOf(inside), slotOf(row)));
             Value ends = arith::XOrIOp::create(
                 p.b, p.loc, same, p.splat(p.b.getI1Type(), 1));
             p.ifThen(ends, [&] {
               emitRun(lanes, head, begin[0], p.sub(next, begin[0]));
             });
             return {Value(arith::SelectOp::create(p.b, p.loc, same, begin[0],
                                                   next))};
           });
  });
}

void sputnik::cpu::emitLatentAttention(Phase &p, r1::LatentAttentionOp op) {
  int64_t mark = p.scratchMark();
  if (op.getForm() == r1::LatentForm::Absorbed)
    emitAbsorbedAttention(p, op);
  else
    LatentKernel(p, op).emitExpanded();
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
