//===- LatentAttention.cpp - Attention over cached latents ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The absorbed form, in three kernels. The first takes the queries of each head
// into the space of the latents. In the second a block has some heads, one for
// each warp, of one row: latents of 32 positions at a time lie in shared memory
// for all of them. Where there are few rows and heads, several blocks share the
// positions. The third brings together what they found, and multiplies it with
// the values' matrix of its head.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/Region.h"

#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// Positions whose latents lie in shared memory at a time: one for each lane.
constexpr int64_t kStep = kWarp;
/// Fewest positions that are worth a block of their own.
constexpr int64_t kSplitPositions = 256;
constexpr int64_t kUnroll = 4;

/// What the three kernels have in common.
class LatentKernel {
public:
  LatentKernel(Kernel &k, r1::LatentAttentionOp op);

  FailureOr<Grid> emitAbsorb();
  FailureOr<Grid> emitAttend();
  FailureOr<Grid> emitValues();

private:
  /// The matrices of all heads, one under the other.
  struct HeadMatrices {
    PanelDot dot;
    int64_t columns, panels, panelBytes;
    Value base;
  };
  FailureOr<HeadMatrices> matrices(FlatSymbolRefAttr weight);
  /// Warps share out the panels of one head's matrix that this block has, and
  /// multiply them with the row at `x`; `body` gets features and sums.
  void multiply(const HeadMatrices &m, Value head, Value firstPanel,
                int64_t features, Value x,
                function_ref<void(Value, Value)> body);
  Value scale() { return k.f32(op.getScale().convertToFloat()); }
  Value floatAt(Value base, Value i) {
    return k.load(k.f32Type(), k.at(base, k.mul(i, 4)), 4);
  }
  void setFloat(Value value, Value base, Value i) {
    k.store(value, k.at(base, k.mul(i, 4)), 4);
  }
  Value absorbedOf(Value head) {
    return k.at(absorbed, k.mul(k.add(k.mul(k.rowTile, heads), head),
                                (latent + rotary) * 4));
  }
  /// Of a set: its maximum, its total, its [latent] weighted latents.
  Value setOf(Value head, Value split) {
    Value piece = k.add(k.mul(k.rowTile, heads), head);
    return k.at(sets, k.mul(k.add(k.mul(piece, splits), split), setBytes));
  }
  using State = SmallVector<Value>;
  State emitStep(Value tile, Value query, Value weights, Value first,
                 Value length, ValueRange state);
  void loadTile(Value tile, Value layer, Value first, Value length);

  Kernel &k;
  r1::LatentAttentionOp op;
  r1::KVCacheType cache;
  int64_t heads, key, rotary, value, latent, splits = 1;
  int64_t headGroups, setBytes, tileStride, chunks;
  Value absorbed; ///< [row][head][latent + rotary] f32, scaled.
  Value sets;     ///< [row][head][split] sets.
};

} // namespace

LatentKernel::LatentKernel(Kernel &k, r1::LatentAttentionOp op)
    : k(k), op(op), cache(op.getCache().getType()), heads(op.getHeads()),
      key(op.getQueryFeatures()), rotary(op.getKeyFeatures()),
      value(op.getValueFeatures()), latent(op.getLatentFeatures()),
      headGroups(llvm::divideCeil(heads, kWarps)), setBytes((latent + 2) * 4),
      // Lanes have positions, or coordinates: both in different banks.
      tileStride((latent + rotary) | 1),
      chunks(llvm::divideCeil(latent, kWarp)) {
  // Decode and verify split alike, for their results to be the same.
  if (k.phase.getKind() != r1::PhaseKind::Prefill)
    splits = chooseSplits(k.target, headGroups,
                          cache.getPositions() / kSplitPositions);
  int64_t pieces = k.phase.getMaxRows() * heads;
  absorbed = k.allocateWorkspace(pieces * (latent + rotary) * 4);
  sets = k.allocateWorkspace(pieces * splits * setBytes);
}

FailureOr<LatentKernel::HeadMatrices>
LatentKernel::matrices(FlatSymbolRefAttr weight) {
  RankedTensorType type = r1::lookupWeightType(op, weight);
  r1::EncodingAttr encoding = r1::getEncoding(type);
  FailureOr<PanelDot> dot = PanelDot::get(encoding, k.f32Type());
  if (failed(dot))
    return op.emitOpError("no kernel multiplies ")
           << encoding << " with f32 activations";
  int64_t columns = type.getDimSize(1);
  return HeadMatrices{*dot, columns, type.getDimSize(0) / heads / kPanel,
                      encoding.getPanelBytes(columns),
                      k.weightPtr(op, weight, op.getLayer())};
}

void LatentKernel::multiply(const HeadMatrices &m, Value head, Value firstPanel,
                            int64_t features, Value x,
                            function_ref<void(Value, Value)> body) {
  Value panel = k.add(firstPanel, k.warp);
  k.ifThen(k.less(panel, k.i64(llvm::divideCeil(features, kPanel))), [&] {
    Value index = k.add(k.mul(head, m.panels), panel);
    SmallVector<Value> sums = m.dot.sumPanel(
        k, k.at(m.base, k.mul(index, m.panelBytes)), m.columns,
        PanelDot::Row{x, nullptr}, m.dot.all(k, m.columns), kUnroll);
    k.ifThen(k.equal(m.dot.lanePart(k), k.i64(0)), [&] {
      for (auto [i, sum] : llvm::enumerate(sums)) {
        Value feature = k.add(k.mul(panel, kPanel), k.add(m.dot.laneRow(k), i));
        k.ifThen(k.less(feature, k.i64(features)),
                 [&, sum = sum] { body(feature, sum); });
      }
    });
  });
}

FailureOr<Grid> LatentKernel::emitAbsorb() {
  FailureOr<HeadMatrices> m = matrices(op.getKeysAttr());
  if (failed(m))
    return failure();
  int64_t blocks = llvm::divideCeil(latent, kPanel * kWarps);
  Value head = k.div(k.block, blocks), part = k.rem(k.block, blocks);
  Value from =
      k.at(k.rowPtr(k.rows(op.getQuery()), k.rowTile), k.mul(head, key * 4));
  int64_t padded = m->dot.paddedColumns(key);
  Value query = k.allocateShared(padded * 4);
  k.forEach(padded, [&](Value i) {
    Value q = k.ifThenElse(k.less(i, k.i64(key)), {k.f32(0)}, [&] {
      return SmallVector<Value>{floatAt(from, i)};
    })[0];
    setFloat(q, query, i);
  });
  k.barrier();
  Value to = absorbedOf(head);
  multiply(*m, head, k.mul(part, kWarps), latent, query,
           [&](Value feature, Value sum) {
             setFloat(k.mulf(sum, scale()), to, feature);
           });
  k.ifThen(k.equal(part, k.i64(0)), [&] {
    Value own = k.at(k.rowPtr(k.rows(op.getRotary()), k.rowTile),
                     k.mul(head, rotary * 4));
    k.forEach(rotary, [&](Value i) {
      setFloat(k.mulf(floatAt(own, i), scale()), to, k.add(i, latent));
    });
  });
  return Grid{heads * blocks, 1};
}

/// Latents of positions [first, first + kStep) as f32, zeros behind the last.
void LatentKernel::loadTile(Value tile, Value layer, Value first,
                            Value length) {
  int64_t dim = latent + rotary;
  k.forEach(kStep * dim, [&](Value i) {
    Value position = k.add(first, k.div(i, dim)), d = k.rem(i, dim);
    Value x = k.ifThenElse(k.less(position, length), {k.f32(0)}, [&] {
      Value at = k.add(k.mul(position, dim), d);
      return SmallVector<Value>{
          k.loadAsF32(cache.getElement(),
                      k.at(layer, k.mul(at, k.bytesOf(cache.getElement()))))};
    })[0];
    setFloat(x, tile, k.add(k.mul(k.div(i, dim), tileStride), d));
  });
}

/// One head's maximum, total of this lane's positions, and sums of this lane's
/// coordinates, after the positions of a tile.
LatentKernel::State LatentKernel::emitStep(Value tile, Value query,
                                           Value weights, Value first,
                                           Value length, ValueRange state) {
  State next(state);
  Value own = k.mul(k.lane, tileStride);
  Value score = k.loop(
      k.i64(0), k.i64(latent + rotary), 1, {k.f32(0)},
      [&](Value d, ValueRange sum) -> SmallVector<Value> {
        return {k.fma(floatAt(query, d), floatAt(tile, k.add(own, d)), sum[0])};
      })[0];
  Value exists = k.less(k.add(first, k.lane), length);
  score = k.select(exists, score, k.f32(-std::numeric_limits<float>::max()));
  Value peak = k.maxf(next[0], k.warpMax(score));
  Value fade = k.exp(k.subf(next[0], peak));
  Value weight = k.select(exists, k.exp(k.subf(score, peak)), k.f32(0.0f));
  next[0] = peak;
  next[1] = k.fma(next[1], fade, weight);
  setFloat(weight, weights, k.lane);
  k.warpBarrier();
  State sums(ArrayRef(next).drop_front(2));
  for (Value &sum : sums)
    sum = k.mulf(sum, fade);
  sums =
      k.loop(k.i64(0), k.i64(kStep), 1, sums, [&](Value t, ValueRange before) {
        State after(before);
        Value w = floatAt(weights, t);
        for (int64_t c = 0; c < chunks; ++c) {
          Value d = k.min(k.add(k.lane, c * kWarp), k.i64(latent - 1));
          Value x = floatAt(tile, k.add(k.mul(t, tileStride), d));
          after[c] = k.fma(x, w, after[c]);
        }
        return after;
      });
  llvm::copy(sums, next.begin() + 2);
  k.warpBarrier();
  return next;
}

FailureOr<Grid> LatentKernel::emitAttend() {
  int64_t dim = latent + rotary;
  Value group = k.div(k.block, splits), split = k.rem(k.block, splits);
  Value head = k.add(k.mul(group, kWarps), k.warp);
  Value isHead = k.less(head, k.i64(heads));
  Value length = k.add(k.index(op.getPositions(), k.rowTile), 1);
  Value layer =
      k.cacheLayerPtr(cache, k.index(op.getSlots(), k.rowTile), op.getLayer());
  Value tile = k.allocateShared(kStep * tileStride * 4);
  Value query =
      k.at(k.allocateShared(kWarps * dim * 4), k.mul(k.warp, dim * 4));
  Value weights =
      k.at(k.allocateShared(kWarps * kStep * 4), k.mul(k.warp, kStep * 4));
  Value from = absorbedOf(k.min(head, k.i64(heads - 1)));
  k.loop(k.lane, k.i64(dim), kWarp,
         [&](Value i) { setFloat(floatAt(from, i), query, i); });

  State state = {k.f32(-std::numeric_limits<float>::max())};
  state.append(1 + chunks, k.f32(0));
  Value steps = k.ceilDiv(length, kStep);
  Value begin = k.div(k.mul(split, steps), splits);
  Value end = k.div(k.mul(k.add(split, 1), steps), splits);
  state = k.loop(begin, end, 1, state, [&](Value step, ValueRange before) {
    Value first = k.mul(step, kStep);
    k.barrier();
    loadTile(tile, layer, first, length);
    k.barrier();
    return k.ifThenElse(isHead, before, [&] {
      return emitStep(tile, query, weights, first, length, before);
    });
  });
  k.ifThen(isHead, [&] {
    Value set = setOf(head, split);
    Value total = k.warpSum(state[1]);
    k.ifThen(k.equal(k.lane, k.i64(0)), [&] {
      setFloat(state[0], set, k.i64(0));
      setFloat(total, set, k.i64(1));
    });
    for (int64_t c = 0; c < chunks; ++c) {
      Value d = k.add(k.lane, c * kWarp);
      k.ifThen(k.less(d, k.i64(latent)),
               [&] { setFloat(state[2 + c], set, k.add(d, 2)); });
    }
  });
  return Grid{headGroups * splits, 1};
}

FailureOr<Grid> LatentKernel::emitValues() {
  FailureOr<HeadMatrices> m = matrices(op.getValuesAttr());
  if (failed(m))
    return failure();
  int64_t blocks = llvm::divideCeil(value, kPanel * kWarps);
  Value head = k.div(k.block, blocks), part = k.rem(k.block, blocks);
  int64_t padded = m->dot.paddedColumns(latent);
  Value sums = k.allocateShared(padded * 4);
  auto each = [&](ValueRange start,
                  function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    return k.loop(k.i64(0), k.i64(splits), 1, start,
                  [&](Value split, ValueRange carried) {
                    return body(setOf(head, split), carried);
                  });
  };
  Value peak = each({k.f32(-std::numeric_limits<float>::max())},
                    [&](Value set, ValueRange m) -> SmallVector<Value> {
                      return {k.maxf(m[0], floatAt(set, k.i64(0)))};
                    })[0];
  k.forEach(padded, [&](Value i) {
    Value mean = k.ifThenElse(k.less(i, k.i64(latent)), {k.f32(0)}, [&] {
      SmallVector<Value> found =
          each({k.f32(0), k.f32(0)},
               [&](Value set, ValueRange before) -> SmallVector<Value> {
                 Value weight = k.exp(k.subf(floatAt(set, k.i64(0)), peak));
                 return {k.fma(floatAt(set, k.i64(1)), weight, before[0]),
                         k.fma(floatAt(set, k.add(i, 2)), weight, before[1])};
               });
      return SmallVector<Value>{k.divf(found[1], found[0])};
    })[0];
    setFloat(mean, sums, i);
  });
  k.barrier();
  const Rows &out =
      k.rows(k.region.getBody().front().getTerminator()->getOperand(0));
  Value to = k.rowPtr(out, k.rowTile);
  multiply(*m, head, k.mul(part, kWarps), value, sums,
           [&](Value feature, Value sum) {
             Value at = k.add(k.mul(head, value), feature);
             k.storeFromF32(sum, out.element,
                            k.at(to, k.mul(at, k.bytesOf(out.element))));
           });
  return Grid{heads * blocks, 1};
}

FailureOr<Grid> sputnik::gpu::emitLatentAttention(Kernel &k,
                                                  r1::LatentAttentionOp op,
                                                  LatentStage stage) {
  if (op.getForm() != r1::LatentForm::Absorbed)
    return op.emitOpError("has no kernel for a GPU in its expanded form");
  LatentKernel kernel(k, op);
  switch (stage) {
  case LatentStage::Absorb:
    return kernel.emitAbsorb();
  case LatentStage::Attend:
    return kernel.emitAttend();
  case LatentStage::Values:
    return kernel.emitValues();
  }
  llvm_unreachable("every stage has a kernel");
}
