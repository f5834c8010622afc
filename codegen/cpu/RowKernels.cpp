//===- RowKernels.cpp - Ops that work on each row by itself ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/ByteRows.h"
#include "codegen/cpu/CacheHead.h"
#include "codegen/cpu/Phase.h"
#include "codegen/cpu/StoredWeight.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

/// Emits one op for one row or for a slice of its features.
struct RowEmitter {
  Phase &p;
  Value row;
  const RowSlice &slice;

  Value source(Value operand) {
    return slice.source ? slice.source : p.rowPtr(p.rows(operand), row);
  }
  Value result(Value value) {
    return slice.result ? slice.result : p.rowPtr(p.rows(value), row);
  }
  bool covers(Value operand) {
    return !slice.operand || slice.operand == operand;
  }
  static Type elementOf(Value value) {
    return cast<RankedTensorType>(value.getType()).getElementType();
  }
  Value element(Value ptr, Value i, int64_t width, Type type) {
    return p.loadAsF32(type, p.at(ptr, p.mul(i, p.bytesOf(type))), width);
  }
  void setElement(Value ptr, Value i, Value value, Type type) {
    p.storeFromF32(value, type, p.at(ptr, p.mul(i, p.bytesOf(type))));
  }
  Value element(Value ptr, Value i, int64_t width) {
    return element(ptr, i, width, p.f32Type());
  }
  void setElement(Value ptr, Value i, Value value) {
    setElement(ptr, i, value, p.f32Type());
  }

  void emit(r1::RMSNormOp op) {
    int64_t dim = op.getHeadSize() ? op.getHeadSize() : slice.features;
    Value in = source(op.getInput()), out = result(op.getResult());
    Value gain = op.getWeightAttr() ? p.weightPtr(op, op.getWeightAttr(),
                                                  op.getLayer())
                                    : Value();
    p.loop(p.i64(0), p.i64(slice.features), dim, [&](Value head) {
      Value from = p.at(in, p.mul(head, 4)), to = p.at(out, p.mul(head, 4));
      Value sum = p.vectorSum(dim, p.lanes(), [&](Value i, int64_t width) {
        Value x = element(from, i, width);
        return p.mulf(x, x);
      });
      Value mean = p.mulf(sum, p.f32(1.0f / static_cast<float>(dim)));
      Value root = math::SqrtOp::create(
          p.b, p.loc, p.addf(mean, p.f32(op.getEps().convertToFloat())));
      Value scale = p.divf(p.f32(1.0f), root);
      p.vectorLoop(dim, p.lanes(), [&](Value i, int64_t width) {
        Value y = p.mulf(element(from, i, width), p.broadcast(scale, width));
        if (gain)
          y = p.mulf(y, element(gain, i, width));
        setElement(to, i, y);
      });
    });
  }

  void emit(r1::RopeOp op) {
    int64_t dim = op.getHeadDim(), half = dim / 2;
    int64_t lanes = std::gcd(half, p.lanes());
    Value in = source(op.getInput()), out = result(op.getResult());
    Value table = p.rowPtr(p.rows(op.getTable()), row);
    p.loop(p.i64(0), p.i64(slice.features), dim, [&](Value head) {
      p.vectorLoop(half, lanes, [&](Value i, int64_t width) {
        Value first = p.add(head, i), second = p.add(first, half);
        Value cos = element(table, i, width);
        Value sin = element(table, p.add(i, half), width);
        Value a = element(in, first, width), c = element(in, second, width);
        setElement(out, first, p.subf(p.mulf(a, cos), p.mulf(c, sin)));
        setElement(out, second, p.addf(p.mulf(c, cos), p.mulf(a, sin)));
      });
    });
  }

  void emit(r1::KVAppendOp op) {
    r1::KVCacheType cache = op.getCache().getType();
    Value slot = p.index(op.getSlots(), row);
    Value position = p.index(op.getPositions(), row);
    int64_t dim = cache.getDim();
    Value first = slice.firstHead ? slice.firstHead : p.i64(0);
    p.loop(p.i64(0), p.i64(slice.features / dim), 1, [&](Value local) {
      CacheHead head(p, cache, slot, op.getLayer(), p.add(first, local));
      Value from = p.mul(local, 4 * dim);
      if (op.getKeys() && covers(op.getKeys()))
        head.storeKey(position, p.at(source(op.getKeys()), from));
      if (op.getValues() && covers(op.getValues()))
        head.storeValue(position, p.at(source(op.getValues()), from));
    });
  }

  void emit(r1::LatentAppendOp op) {
    r1::KVCacheType cache = op.getCache().getType();
    Type element = cache.getElement();
    Value position = p.index(op.getPositions(), row);
    Value out = p.at(cacheLayerPtr(p, cache, p.index(op.getSlots(), row),
                                   op.getLayer()),
                     p.mul(position, cache.getDim() * p.bytesOf(element)));
    int64_t first = 0;
    for (Value part : {op.getLatent(), op.getKey()}) {
      Value in = p.rowPtr(p.rows(part), row);
      int64_t size = cast<RankedTensorType>(part.getType()).getDimSize(1);
      p.vectorLoop(size, p.lanes(), [&](Value i, int64_t width) {
        setElement(out, p.add(i, first), this->element(in, i, width), element);
      });
      first += size;
    }
  }

  void emit(r1::RouteOp op) {
    emitRoute(p, op, source(op.getScores()),
              p.rowPtr(p.rows(op.getChosen()), row),
              p.rowPtr(p.rows(op.getFactors()), row));
  }

  void emit(r1::AddOp op) {
    Value a = p.rowPtr(p.rows(op.getLhs()), row);
    Value c = p.rowPtr(p.rows(op.getRhs()), row);
    Value out = result(op.getResult());
    p.vectorLoop(slice.features, p.lanes(), [&](Value i, int64_t width) {
      setElement(out, i, p.addf(element(a, i, width), element(c, i, width)));
    });
  }

  void emit(r1::SwiGLUOp op) {
    Value gate = p.rowPtr(p.rows(op.getGate()), row);
    Value up = p.rowPtr(p.rows(op.getUp()), row);
    Value out = result(op.getResult());
    p.vectorLoop(slice.features, p.lanes(), [&](Value i, int64_t width) {
      setElement(out, i, emitSwiGLU(p, element(gate, i, width),
                                    element(up, i, width)));
    });
  }

  void emit(r1::CastOp op) {
    Value in = source(op.getInput()), out = result(op.getResult());
    Type to = elementOf(op.getResult());
    if (to.isInteger(8)) {
      emitRoundedRow(p, in, out, slice.features);
      return;
    }
    p.vectorLoop(slice.features, p.lanes(), [&](Value i, int64_t width) {
      setElement(out, i, element(in, i, width), to);
    });
  }

  void emit(r1::SplitOp op) {
    Value in = source(op.getInput());
    int64_t start = 0;
    for (auto [n, value] : llvm::enumerate(op.getResults())) {
      int64_t size = cast<RankedTensorType>(value.getType()).getDimSize(1);
      Value out = p.rowPtr(p.rows(value), row);
      if (std::optional<uint64_t> block = op.getBlock()) {
        int64_t ways = op.getNumResults();
        p.vectorLoop(size, 1, [&](Value i, int64_t width) {
          Value from = p.add(p.mul(p.div(i, *block), ways * *block),
                             p.add(p.rem(i, *block), n * *block));
          setElement(out, i, element(in, from, width));
        });
      } else {
        Value from = p.at(in, 4 * start);
        p.vectorLoop(size, p.lanes(), [&](Value i, int64_t width) {
          setElement(out, i, element(from, i, width));
        });
        start += size;
      }
    }
  }

  void emit(r1::SelectRowsOp op) {
    Value from = p.rowPtr(p.rows(op.getInput()), p.index(op.getRows(), row));
    Value out = result(op.getResult());
    p.vectorLoop(slice.features, p.lanes(), [&](Value i, int64_t width) {
      setElement(out, i, element(from, i, width));
    });
  }

  void emit(r1::EmbedOp op) {
    Value token = p.index(op.getTokens(), row);
    Value table = p.weightPtr(op, op.getWeightAttr(), nullptr);
    Value out = result(op.getResult());
    r1::EncodingAttr encoding =
        r1::getEncoding(r1::lookupWeightType(op, op.getWeightAttr()));
    int64_t columns = slice.features;
    if (encoding.getPanel() > 1 || encoding.getBlock()) {
      p.vectorLoop(columns, 1, [&](Value i, int64_t) {
        setElement(out, i, loadWeight(p, encoding, columns, table, token, i));
      });
      return;
    }
    Type stored = encoding.getScheme() == r1::Scheme::BF16
                      ? Type(p.b.getBF16Type())
                      : p.f32Type();
    Value base = p.mul(token, llvm::alignTo(columns, encoding.getStep()));
    p.vectorLoop(columns, p.lanes(), [&](Value i, int64_t width) {
      setElement(out, i, element(table, p.add(base, i), width, stored));
    });
  }

  void emit(r1::RopeTableOp op) {
    ArrayRef<double> frequencies = op.getFrequencies();
    int64_t half = frequencies.size();
    Type f64 = p.b.getF64Type();
    Value position = arith::SIToFPOp::create(
        p.b, p.loc, f64, p.index(op.getPositions(), row));
    Value magnitude = arith::ConstantFloatOp::create(
        p.b, p.loc, cast<FloatType>(f64),
        APFloat(op.getMagnitude().convertToDouble()));
    Value out = result(op.getResult());
    for (auto [i, frequency] : llvm::enumerate(frequencies)) {
      Value angle = p.mulf(position, arith::ConstantFloatOp::create(
                                         p.b, p.loc, cast<FloatType>(f64),
                                         APFloat(frequency)));
      auto put = [&](Value f, int64_t at) {
        Value value = arith::TruncFOp::create(p.b, p.loc, p.f32Type(),
                                              p.mulf(f, magnitude));
        p.store(value, p.at(out, 4 * at), 4);
      };
      put(math::CosOp::create(p.b, p.loc, angle), i);
      put(math::SinOp::create(p.b, p.loc, angle), half + i);
    }
  }
};

} // namespace

Value sputnik::cpu::emitSwiGLU(Emit &e, Value gate, Value up) {
  Value one = e.splat(gate.getType(), 1.0);
  Value minus = e.subf(e.splat(gate.getType(), 0.0), gate);
  return e.mulf(e.divf(gate, e.addf(one, e.exp(minus))), up);
}

bool sputnik::cpu::isRowOp(Operation *op) {
  return isa<r1::RMSNormOp, r1::RopeOp, r1::KVAppendOp, r1::AddOp,
             r1::SwiGLUOp, r1::CastOp, r1::SplitOp, r1::SelectRowsOp,
             r1::EmbedOp, r1::RopeTableOp, r1::LatentAppendOp, r1::RouteOp>(op);
}

void sputnik::cpu::emitRowOp(Phase &phase, Operation *op, Value row,
                             const RowSlice &slice) {
  RowEmitter emitter{phase, row, slice};
  llvm::TypeSwitch<Operation *>(op)
      .Case<r1::RMSNormOp, r1::RopeOp, r1::KVAppendOp, r1::AddOp, r1::SwiGLUOp,
            r1::CastOp, r1::SplitOp, r1::SelectRowsOp, r1::EmbedOp,
            r1::RopeTableOp, r1::LatentAppendOp, r1::RouteOp>(
          [&](auto typed) { emitter.emit(typed); });
}

void sputnik::cpu::emitTokenRegion(Phase &p, r1::RegionOp region) {
  Block &body = region.getBody().front();
  int64_t mark = p.scratchMark();
  // A value that stays inside the region lives in one scratch row.
  Value count;
  for (Operation &op : body.without_terminator())
    for (Value value : op.getResults()) {
      Value valueCount = r1::countsOutputs(value) ? p.outputCount : p.rowCount;
      count = valueCount;
      if (p.hasRows(value))
        continue;
      auto type = cast<RankedTensorType>(value.getType());
      int64_t features = type.getDimSize(1);
      p.setRows(value, {p.allocateScratch(r1::getRowBytes(type)),
                        p.i64(0), type.getElementType(), valueCount,
                        features});
    }
  if (!count)
    count = p.rowCount;
  auto [first, last] = p.share(count);
  p.loop(first, last, 1, [&](Value row) {
    for (Operation &op : body.without_terminator()) {
      Value shaped;
      if (auto append = dyn_cast<r1::KVAppendOp>(op))
        shaped = append.getKeys() ? append.getKeys() : append.getValues();
      else if (auto append = dyn_cast<r1::LatentAppendOp>(op))
        shaped = append.getLatent();
      else
        shaped = isa<r1::RouteOp>(op) ? op.getOperand(0) : op.getResult(0);
      int64_t features =
          cast<RankedTensorType>(shaped.getType()).getDimSize(1);
      emitRowOp(p, &op, row, {nullptr, nullptr, features, nullptr, nullptr});
    }
  });
  p.restoreScratch(mark);
}
