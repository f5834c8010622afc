//===- LatentAttention.cpp - Attention over cached latents ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The absorbed form, in three kernels. The first takes the queries of each head
// into the space of the latents. The second attends: on the tensor cores, or,
// where there are too few heads for them, with one head for each warp, for all of
// which latents of 32 positions at a time lie in shared memory. Where there are
// few rows and heads, several blocks share the positions. The third brings
// together what they found, and multiplies it with the values' matrix of its head.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/LatentWork.h"
#include "codegen/gpu/PanelDot.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// Positions whose latents lie in shared memory at a time: one for each lane.
constexpr int64_t kStep = kWarp;
constexpr int64_t kUnroll = 4;

class LatentKernel {
public:
  LatentKernel(Kernel &k, r1::LatentAttentionOp op)
      : k(k), op(op), work(k, op), cache(op.getCache().getType()),
        // Lanes have positions, or coordinates: both in different banks.
        tileStride(work.dim | 1),
        chunks(llvm::divideCeil(work.latent, kWarp)) {}

  FailureOr<Grid> emitAbsorb();
  FailureOr<Grid> emitAttend();
  FailureOr<Grid> emitValues();

private:
  /// The matrices of all heads, one under the other, of which this block has
  /// some panels of one.
  struct HeadMatrices {
    PanelDot dot;
    int64_t columns, panels, panelBytes, features, blocks;
    Value base, head, part;
  };
  FailureOr<HeadMatrices> matrices(FlatSymbolRefAttr weight, int64_t features);
  /// Warps share out this block's panels, and multiply them with the row at
  /// `x`; `body` gets features and sums.
  void multiply(const HeadMatrices &m, Value x,
                function_ref<void(Value, Value)> body);
  /// A row of `m`'s columns in shared memory, zeros behind them.
  Value stageRow(const HeadMatrices &m, function_ref<Value(Value)> valueOf);
  Value exp2(Value x) { return math::Exp2Op::create(k.b, k.loc, x); }
  Value floatAt(Value base, Value i) {
    return k.load(k.f32Type(), k.at(base, k.mul(i, 4)), 4);
  }
  void setFloat(Value value, Value base, Value i) {
    k.store(value, k.at(base, k.mul(i, 4)), 4);
  }
  using State = SmallVector<Value>;
  State emitStep(Value tile, Value query, Value weights, Value first,
                 Value length, ValueRange state);
  void loadTile(Value tile, Value layer, Value first, Value length);

  Kernel &k;
  r1::LatentAttentionOp op;
  LatentWork work;
  r1::KVCacheType cache;
  int64_t tileStride, chunks;
};

} // namespace

FailureOr<LatentKernel::HeadMatrices>
LatentKernel::matrices(FlatSymbolRefAttr weight, int64_t features) {
  RankedTensorType type = r1::lookupWeightType(op, weight);
  r1::EncodingAttr encoding = r1::getEncoding(type);
  FailureOr<PanelDot> dot = PanelDot::get(encoding, k.f32Type());
  if (failed(dot))
    return op.emitOpError("no kernel multiplies ")
           << encoding << " with f32 activations";
  int64_t columns = type.getDimSize(1);
  int64_t blocks = llvm::divideCeil(features, kPanel * kWarps);
  return HeadMatrices{*dot,
                      columns,
                      type.getDimSize(0) / work.heads / kPanel,
                      encoding.getPanelBytes(columns),
                      features,
                      blocks,
                      k.weightPtr(op, weight, op.getLayer()),
                      k.div(k.block, blocks),
                      k.rem(k.block, blocks)};
}

void LatentKernel::multiply(const HeadMatrices &m, Value x,
                            function_ref<void(Value, Value)> body) {
  Value panel = k.add(k.mul(m.part, kWarps), k.warp);
  k.ifThen(k.less(panel, k.i64(llvm::divideCeil(m.features, kPanel))), [&] {
    Value index = k.add(k.mul(m.head, m.panels), panel);
    SmallVector<Value> sums = m.dot.sumPanel(
        k, k.at(m.base, k.mul(index, m.panelBytes)), m.columns,
        PanelDot::Row{x, nullptr}, m.dot.all(k, m.columns), kUnroll);
    k.ifThen(k.equal(m.dot.lanePart(k), k.i64(0)), [&] {
      for (auto [i, sum] : llvm::enumerate(sums)) {
        Value feature = k.add(k.mul(panel, kPanel), k.add(m.dot.laneRow(k), i));
        k.ifThen(k.less(feature, k.i64(m.features)),
                 [&, sum = sum] { body(feature, sum); });
      }
    });
  });
}

Value LatentKernel::stageRow(const HeadMatrices &m,
                             function_ref<Value(Value)> valueOf) {
  int64_t padded = m.dot.paddedColumns(m.columns);
  Value row = k.allocateShared(padded * 4);
  k.forEach(padded, [&](Value i) {
    Value x = k.ifThenElse(k.less(i, k.i64(m.columns)), {k.f32(0)}, [&] {
      return SmallVector<Value>{valueOf(i)};
    })[0];
    setFloat(x, row, i);
  });
  k.barrier();
  return row;
}

FailureOr<Grid> LatentKernel::emitAbsorb() {
  FailureOr<HeadMatrices> m = matrices(op.getKeysAttr(), work.latent);
  if (failed(m))
    return failure();
  Value from = k.at(k.rowPtr(k.rows(op.getQuery()), k.rowTile),
                    k.mul(m->head, work.key * 4));
  Value query = stageRow(*m, [&](Value i) { return floatAt(from, i); });
  Value to = work.queryOf(k, m->head);
  // Powers of two are what the hardware has.
  Value scale = k.f32(op.getScale().convertToFloat() * 1.44269504f);
  auto store = [&](Value x, Value i) {
    k.storeFromF32(k.mulf(x, scale), work.queryElement,
                   k.at(to, k.mul(i, k.bytesOf(work.queryElement))));
  };
  multiply(*m, query, [&](Value feature, Value sum) { store(sum, feature); });
  k.ifThen(k.equal(m->part, k.i64(0)), [&] {
    Value own = k.at(k.rowPtr(k.rows(op.getRotary()), k.rowTile),
                     k.mul(m->head, work.rotary * 4));
    k.forEach(work.rotary, [&](Value i) {
      store(floatAt(own, i), k.add(i, work.latent));
    });
  });
  return Grid{work.heads * m->blocks, 1};
}

/// Latents of positions [first, first + kStep) as f32, zeros behind the last.
void LatentKernel::loadTile(Value tile, Value layer, Value first,
                            Value length) {
  int64_t dim = work.dim;
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
      k.i64(0), k.i64(work.dim), 1, {k.f32(0)},
      [&](Value d, ValueRange sum) -> SmallVector<Value> {
        return {k.fma(floatAt(query, d), floatAt(tile, k.add(own, d)), sum[0])};
      })[0];
  Value exists = k.less(k.add(first, k.lane), length);
  score = k.select(exists, score, k.f32(-std::numeric_limits<float>::max()));
  Value peak = k.maxf(next[0], k.warpMax(score));
  Value fade = exp2(k.subf(next[0], peak));
  Value weight = k.select(exists, exp2(k.subf(score, peak)), k.f32(0.0f));
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
          Value d = k.min(k.add(k.lane, c * kWarp), k.i64(work.latent - 1));
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
  if (work.tensorCores)
    return emitLatentTiles(k, op, work);
  int64_t dim = work.dim;
  Value group = k.div(k.block, work.splits);
  Value split = k.rem(k.block, work.splits);
  Value head = k.add(k.mul(group, kWarps), k.warp);
  Value isHead = k.less(head, k.i64(work.heads));
  Value length = k.add(k.index(op.getPositions(), k.rowTile), 1);
  Value layer =
      k.cacheLayerPtr(cache, k.index(op.getSlots(), k.rowTile), op.getLayer());
  Value tile = k.allocateShared(kStep * tileStride * 4);
  Value query =
      k.at(k.allocateShared(kWarps * dim * 4), k.mul(k.warp, dim * 4));
  Value weights =
      k.at(k.allocateShared(kWarps * kStep * 4), k.mul(k.warp, kStep * 4));
  Value from = work.queryOf(k, k.min(head, k.i64(work.heads - 1)));
  k.loop(k.lane, k.i64(dim), kWarp,
         [&](Value i) { setFloat(floatAt(from, i), query, i); });

  State state = {k.f32(-std::numeric_limits<float>::max())};
  state.append(1 + chunks, k.f32(0));
  Value steps = k.ceilDiv(length, kStep);
  Value begin = k.div(k.mul(split, steps), work.splits);
  Value end = k.div(k.mul(k.add(split, 1), steps), work.splits);
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
    Value set = work.setOf(k, head, split);
    Value total = k.warpSum(state[1]);
    k.ifThen(k.equal(k.lane, k.i64(0)), [&] {
      setFloat(state[0], set, k.i64(0));
      setFloat(total, set, k.i64(1));
    });
    for (int64_t c = 0; c < chunks; ++c) {
      Value d = k.add(k.lane, c * kWarp);
      k.ifThen(k.less(d, k.i64(work.latent)),
               [&] { setFloat(state[2 + c], set, k.add(d, 2)); });
    }
  });
  return Grid{work.headBlocks * work.splits, 1};
}

FailureOr<Grid> LatentKernel::emitValues() {
  FailureOr<HeadMatrices> m = matrices(op.getValuesAttr(), work.value);
  if (failed(m))
    return failure();
  auto each = [&](ValueRange start,
                  function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    return k.loop(k.i64(0), k.i64(work.splits), 1, start,
                  [&](Value split, ValueRange carried) {
                    return body(work.setOf(k, m->head, split), carried);
                  });
  };
  Value peak = each({k.f32(-std::numeric_limits<float>::max())},
                    [&](Value set, ValueRange m) -> SmallVector<Value> {
                      return {k.maxf(m[0], floatAt(set, k.i64(0)))};
                    })[0];
  Value sums = stageRow(*m, [&](Value i) {
    SmallVector<Value> found =
        each({k.f32(0), k.f32(0)},
             [&](Value set, ValueRange before) -> SmallVector<Value> {
               Value weight = exp2(k.subf(floatAt(set, k.i64(0)), peak));
               return {k.fma(floatAt(set, k.i64(1)), weight, before[0]),
                       k.fma(floatAt(set, k.add(i, 2)), weight, before[1])};
             });
    return k.divf(found[1], found[0]);
  });
  const Rows &out =
      k.rows(k.region.getBody().front().getTerminator()->getOperand(0));
  Value to = k.rowPtr(out, k.rowTile);
  multiply(*m, sums, [&](Value feature, Value sum) {
    Value at = k.add(k.mul(m->head, work.value), feature);
    k.storeFromF32(sum, out.element,
                   k.at(to, k.mul(at, k.bytesOf(out.element))));
  });
  return Grid{work.heads * m->blocks, 1};
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
