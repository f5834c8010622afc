//===- RowOps.cpp - Ops that work on each row by itself -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/RowOps.h"

#include "codegen/gpu/ByteCache.h"
#include "codegen/gpu/ByteRows.h"

#include "codegen/cpu/StoredWeight.h"
#include "codegen/gpu/PanelDot.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

Value RowSlice::ptr(Kernel &k, Value value) const {
  if (Value local = locals.lookup(value))
    return local;
  const Rows &rows = k.rows(value);
  Value base = k.rowPtr(rows, row);
  return first ? k.at(base, k.mul(first, k.bytesOf(rows.element))) : base;
}

std::pair<Value, Value> sputnik::gpu::emitCosSin(Kernel &k, Value angle) {
  Type f64 = k.b.getF64Type();
  auto c = [&](double value) { return k.splat(f64, value); };
  // angle = n pi/2 + r with |r| <= pi/4; pi/2 in two parts.
  Value n = math::RoundEvenOp::create(k.b, k.loc,
                                      k.mulf(angle, c(0.63661977236758134)));
  Value r = k.fma(n, c(-1.5707963267948966), angle);
  r = k.fma(n, c(-6.123233995736766e-17), r);
  Value square = k.mulf(r, r);
  // Taylor: the terms left out are below 2^-55.
  auto series = [&](int from, int to) {
    Value sum = c(0);
    for (int i = to; i >= from; i -= 2) {
      double factorial = 1;
      for (int j = 2; j <= i; ++j)
        factorial *= j;
      sum = k.fma(sum, square, c((i / 2 % 2 ? -1 : 1) / factorial));
    }
    return sum;
  };
  Value cos = series(0, 18), sin = k.mulf(series(1, 17), r);
  Value quadrant = arith::AndIOp::create(
      k.b, k.loc, arith::FPToSIOp::create(k.b, k.loc, k.i64Type(), n),
      k.i64(3));
  auto negated = [&](Value x) { return k.subf(c(0), x); };
  auto is = [&](int64_t q) { return k.equal(quadrant, k.i64(q)); };
  Value resultCos =
      k.select(is(0), cos,
               k.select(is(1), negated(sin),
                        k.select(is(2), negated(cos), sin)));
  Value resultSin =
      k.select(is(0), sin,
               k.select(is(1), cos,
                        k.select(is(2), negated(sin), negated(cos))));
  return {resultCos, resultSin};
}

Value sputnik::gpu::emitSwiGLU(Kernel &k, Value gate, Value up) {
  Value minus = k.subf(k.f32(0), gate);
  return k.mulf(k.divf(gate, k.addf(k.f32(1), k.exp(minus))), up);
}

void sputnik::gpu::emitSwiGLUPanels(Kernel &k, Value sums, Value first,
                                    int64_t count, int64_t features,
                                    Value to) {
  k.forEach(count, [&](Value i) {
    Value feature = k.add(first, i);
    k.ifThen(k.less(feature, k.i64(features)), [&] {
      Value before = k.mul(k.div(i, kPanel), kPanel);
      Value pair = k.at(sums, k.mul(k.add(i, before), 4));
      Value gate = k.load(k.f32Type(), pair, 4);
      Value up = k.load(k.f32Type(), k.at(pair, kPanel * 4), 4);
      k.store(emitSwiGLU(k, gate, up), k.at(to, k.mul(feature, 4)), 4);
    });
  });
}

namespace {

/// Emits one op for one slice.
struct RowEmitter {
  Kernel &k;
  const RowSlice &slice;

  Value ptr(Value value) { return slice.ptr(k, value); }
  Value element(Value ptr, Value i) {
    return k.load(k.f32Type(), k.at(ptr, k.mul(i, 4)), 4);
  }
  void setElement(Value ptr, Value i, Value value) {
    k.store(value, k.at(ptr, k.mul(i, 4)), 4);
  }
  void map(function_ref<Value(Value)> body, Value out) {
    k.forEach(slice.features, [&](Value i) { setElement(out, i, body(i)); });
  }

  void emit(r1::RMSNormOp op) {
    int64_t dim = op.getHeadSize() ? op.getHeadSize() : slice.features;
    Value in = ptr(op.getInput()), out = ptr(op.getResult());
    Value gain = op.getWeightAttr() ? k.weightPtr(op, op.getWeightAttr(),
                                                  op.getLayer())
                                    : Value();
    for (int64_t head = 0; head < slice.features; head += dim) {
      Value from = k.at(in, head * 4), to = k.at(out, head * 4);
      Value squares = k.loop(k.member(), k.i64(dim), k.members(), {k.f32(0)},
                             [&](Value i, ValueRange sum) {
                               Value x = element(from, i);
                               return SmallVector<Value>{k.fma(x, x, sum[0])};
                             })[0];
      Value mean = k.mulf(k.teamSum(squares),
                          k.f32(1.0f / static_cast<float>(dim)));
      Value root = math::SqrtOp::create(
          k.b, k.loc, k.addf(mean, k.f32(op.getEps().convertToFloat())));
      Value scale = k.divf(k.f32(1.0f), root);
      k.forEach(dim, [&](Value i) {
        Value y = k.mulf(element(from, i), scale);
        if (gain)
          y = k.mulf(y, element(gain, i));
        setElement(to, i, y);
      });
    }
  }

  void emit(r1::RopeOp op) {
    int64_t dim = op.getHeadDim(), half = dim / 2;
    Value in = ptr(op.getInput()), out = ptr(op.getResult());
    Value table = k.rowPtr(k.rows(op.getTable()), slice.row);
    // A thread takes both features of a pair: in place nobody is in the way.
    k.forEach(slice.features / 2, [&](Value pair) {
      Value i = k.rem(pair, half);
      Value first = k.add(k.mul(k.div(pair, half), dim), i);
      Value second = k.add(first, half);
      Value cos = element(table, i), sin = element(table, k.add(i, half));
      Value a = element(in, first), c = element(in, second);
      setElement(out, first, k.subf(k.mulf(a, cos), k.mulf(c, sin)));
      setElement(out, second, k.addf(k.mulf(c, cos), k.mulf(a, sin)));
    });
  }

  void emit(r1::KVAppendOp op) {
    r1::KVCacheType cache = op.getCache().getType();
    Value slot = k.index(op.getSlots(), slice.row);
    Value position = k.index(op.getPositions(), slice.row);
    int64_t dim = cache.getDim(), bytes = k.bytesOf(cache.getElement());
    constexpr int64_t panel = r1::KVCacheType::kPanel;
    Value firstHead = slice.first ? k.div(slice.first, dim) : k.i64(0);
    auto isHere = [&](Value rows) {
      return rows && (!slice.localsOnly || slice.locals.count(rows));
    };
    if (cache.isQuantized()) {
      Value layer = k.cacheHeadPtr(cache, slot, op.getLayer(), firstHead);
      ByteCache to(k, cache, layer);
      if (isHere(op.getKeys()))
        to.appendKeys(position, ptr(op.getKeys()), slice.features);
      if (isHere(op.getValues()))
        to.appendValues(position, ptr(op.getValues()), slice.features);
      return;
    }
    auto append = [&](Value rows, function_ref<Value(Value base, Value i)> to) {
      if (!isHere(rows))
        return;
      Value in = ptr(rows);
      k.forEach(slice.features, [&](Value feature) {
        Value base = k.cacheHeadPtr(cache, slot, op.getLayer(),
                                    k.add(firstHead, k.div(feature, dim)));
        k.storeFromF32(element(in, feature), cache.getElement(),
                       to(base, k.rem(feature, dim)));
      });
    };
    append(op.getKeys(), [&](Value base, Value i) {
      Value lane = k.add(k.mul(k.div(position, panel), panel * dim),
                         k.rem(position, panel));
      return k.at(base, k.mul(k.add(lane, k.mul(i, panel)), bytes));
    });
    append(op.getValues(), [&](Value base, Value i) {
      Value index = k.add(k.mul(position, dim), i);
      return k.at(base, k.add(k.mul(index, bytes), cache.getKeyBytes()));
    });
  }

  void emit(r1::LatentAppendOp op) {
    r1::KVCacheType cache = op.getCache().getType();
    int64_t bytes = k.bytesOf(cache.getElement());
    Value layer = k.cacheLayerPtr(cache, k.index(op.getSlots(), slice.row),
                                  op.getLayer());
    Value position = k.index(op.getPositions(), slice.row);
    Value to = k.at(layer, k.mul(position, cache.getDim() * bytes));
    auto append = [&](Value rows, int64_t begin) {
      Value in = ptr(rows);
      k.forEach(cast<RankedTensorType>(rows.getType()).getDimSize(1),
                [&](Value i) {
                  k.storeFromF32(element(in, i), cache.getElement(),
                                 k.at(to, k.mul(k.add(i, begin), bytes)));
                });
    };
    append(op.getLatent(), 0);
    append(op.getKey(), cache.getLatent());
  }

  void emit(r1::RouteOp op) {
    emitRoute(k, op, ptr(op.getScores()), ptr(op.getChosen()),
              ptr(op.getFactors()));
  }

  void emit(r1::AddOp op) {
    Value a = ptr(op.getLhs()), c = ptr(op.getRhs());
    map([&](Value i) { return k.addf(element(a, i), element(c, i)); },
        ptr(op.getResult()));
  }

  void emit(r1::SwiGLUOp op) {
    Value gate = ptr(op.getGate()), up = ptr(op.getUp());
    map(
        [&](Value i) {
          return emitSwiGLU(k, element(gate, i), element(up, i));
        },
        ptr(op.getResult()));
  }

  void emit(r1::CastOp op) {
    Type element = cast<RankedTensorType>(op.getType()).getElementType();
    if (element.isInteger(8)) {
      toBytes(op);
      return;
    }
    Value in = ptr(op.getInput()), out = ptr(op.getResult());
    k.forEach(slice.features, [&](Value i) {
      k.storeFromF32(this->element(in, i), element,
                     k.at(out, k.mul(i, k.bytesOf(element))));
    });
  }

  /// To i8 groups, laid out as r1::getRowBytes says; what it keeps for unsigned
  /// dot instructions is left out. A warp has a group.
  void toBytes(r1::CastOp op) {
    constexpr int64_t perLane = r1::kActivationGroup / kWarp, perWord = 4;
    Value in = ptr(op.getInput()), out = ptr(op.getResult());
    int64_t bytes = llvm::alignTo(slice.features, r1::kQuantBlock);
    int64_t groups = llvm::divideCeil(slice.features, r1::kActivationGroup);
    Value scales = k.at(out, bytes);
    // All lanes of a warp go round equally often.
    Value end = k.i64(llvm::alignTo(groups * kWarp, k.members()));
    k.loop(k.member(), end, k.members(), [&](Value index) {
      Value first = k.mul(index, perLane);
      SmallVector<Value> x;
      Value peak = k.f32(0);
      for (int64_t i = 0; i < perLane; ++i) {
        Value feature = k.add(first, i);
        Value value = k.ifThenElse(
            k.less(feature, k.i64(slice.features)), {k.f32(0)}, [&] {
              return SmallVector<Value>{element(in, feature)};
            })[0];
        x.push_back(value);
        peak = k.maxf(peak, math::AbsFOp::create(k.b, k.loc, value));
      }
      for (int64_t mask = 1; mask < kWarp; mask *= 2)
        peak = k.maxf(peak, k.shuffleXor(peak, mask));
      auto [inverse, scale] = byteScale(k, peak);
      SmallVector<Value> packed(perLane / perWord, k.i32(0));
      for (auto [i, value] : llvm::enumerate(x)) {
        Value q = k.and32(toByte(k, value, inverse), 255);
        Value &word = packed[i / perWord];
        word = arith::OrIOp::create(
            k.b, k.loc, word,
            arith::ShLIOp::create(k.b, k.loc, q, k.i32(8 * (i % perWord))));
      }
      k.ifThen(k.less(first, k.i64(bytes)), [&, scale = scale] {
        for (auto [i, word] : llvm::enumerate(packed))
          k.store(word, k.at(out, k.add(first, i * perWord)), 4);
        k.ifThen(k.equal(k.lane, k.i64(0)), [&] {
          k.store(scale, k.at(scales, k.mul(k.div(index, kWarp), 4)), 4);
        });
      });
    });
  }

  void emit(r1::SplitOp op) {
    Value in = ptr(op.getInput());
    int64_t start = 0, ways = op.getNumResults();
    for (auto [n, value] : llvm::enumerate(op.getResults())) {
      int64_t size = cast<RankedTensorType>(value.getType()).getDimSize(1);
      Value out = ptr(value);
      k.forEach(size, [&, n = n](Value i) {
        Value from = k.add(i, start);
        if (std::optional<uint64_t> block = op.getBlock())
          from = k.add(k.mul(k.div(i, *block), ways * *block),
                       k.add(k.rem(i, *block), n * *block));
        setElement(out, i, element(in, from));
      });
      if (!op.getBlock())
        start += size;
    }
  }

  void emit(r1::SelectRowsOp op) {
    Value in = k.rowPtr(k.rows(op.getInput()),
                        k.index(op.getRows(), slice.row));
    map([&](Value i) { return element(in, i); }, ptr(op.getResult()));
  }

  void emit(r1::EmbedOp op) {
    Value token = k.index(op.getTokens(), slice.row);
    Value table = k.weightPtr(op, op.getWeightAttr(), nullptr);
    r1::EncodingAttr encoding =
        r1::getEncoding(r1::lookupWeightType(op, op.getWeightAttr()));
    map(
        [&](Value i) {
          return cpu::loadWeight(k, encoding, slice.features, table, token, i);
        },
        ptr(op.getResult()));
  }

  void emit(r1::RopeTableOp op) {
    ArrayRef<double> frequencies = op.getFrequencies();
    int64_t half = frequencies.size();
    Value table = k.constantTable(frequencies);
    Type f64 = k.b.getF64Type();
    Value position = arith::SIToFPOp::create(
        k.b, k.loc, f64, k.index(op.getPositions(), slice.row));
    Value magnitude = k.splat(f64, op.getMagnitude().convertToDouble());
    Value out = ptr(op.getResult());
    k.forEach(half, [&](Value i) {
      Value frequency = k.load(f64, k.at(table, k.mul(i, 8)), 8);
      auto [cos, sin] = emitCosSin(k, k.mulf(position, frequency));
      auto put = [&](Value value, Value at) {
        setElement(out, at,
                   arith::TruncFOp::create(k.b, k.loc, k.f32Type(),
                                           k.mulf(value, magnitude)));
      };
      put(cos, i);
      put(sin, k.add(i, half));
    });
  }
};

} // namespace

bool sputnik::gpu::isRowOp(Operation *op) {
  return isa<r1::CastOp, r1::RMSNormOp, r1::RopeOp, r1::KVAppendOp,
             r1::LatentAppendOp, r1::RouteOp, r1::AddOp, r1::SwiGLUOp,
             r1::SplitOp, r1::SelectRowsOp, r1::EmbedOp, r1::RopeTableOp>(op);
}

void sputnik::gpu::emitRowOp(Kernel &k, Operation *op, const RowSlice &slice) {
  RowEmitter emitter{k, slice};
  llvm::TypeSwitch<Operation *>(op)
      .Case<r1::RMSNormOp, r1::RopeOp, r1::KVAppendOp, r1::LatentAppendOp,
            r1::RouteOp, r1::AddOp, r1::SwiGLUOp, r1::CastOp, r1::SplitOp,
            r1::SelectRowsOp, r1::EmbedOp, r1::RopeTableOp>(
          [&](auto typed) { emitter.emit(typed); });
}
