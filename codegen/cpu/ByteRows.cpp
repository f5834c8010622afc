//===- ByteRows.cpp - Values rounded to 8 bits ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/ByteRows.h"

#include "dialect/R1.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kLanes = RoundedBytes::kLanes;

RoundedBytes sputnik::cpu::roundToBytes(Emit &e, ArrayRef<Value> values) {
  Value peak = e.splat(e.f32Vec(kLanes), 0.0);
  for (Value v : values)
    peak = e.maxf(peak, math::AbsFOp::create(e.b, e.loc, v));
  peak = e.reduceMax(peak);
  Value some = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OGT,
                                     peak, e.f32(0.0f));
  Value inverse = e.broadcast(
      arith::SelectOp::create(e.b, e.loc, some, e.divf(e.f32(127.0f), peak),
                              e.f32(0.0f)),
      kLanes);
  RoundedBytes result;
  Type words = e.vecType(kLanes, e.b.getI32Type());
  for (Value v : values)
    result.words.push_back(arith::FPToSIOp::create(
        e.b, e.loc, words,
        math::RoundEvenOp::create(e.b, e.loc, e.mulf(v, inverse))));
  result.scale = e.mulf(peak, e.f32(1.0f / 127.0f));
  return result;
}

Value sputnik::cpu::narrowToBytes(Emit &e, Value words) {
  return arith::TruncIOp::create(e.b, e.loc,
                                 e.vecType(kLanes, e.b.getI8Type()), words);
}

/// 16 features from `first` on, of which only `exist` do; zeros behind.
static Value valuesOrZero(Emit &e, Value in, Value first, int64_t exist) {
  if (exist >= kLanes)
    return e.loadAsF32(e.f32Type(), e.at(in, e.mul(first, 4)), kLanes);
  Value part = e.splat(e.f32Vec(kLanes), 0.0);
  for (int64_t lane = 0; lane < exist; ++lane)
    part = vector::InsertOp::create(
        e.b, e.loc,
        e.loadAsF32(e.f32Type(), e.at(in, e.mul(e.add(first, lane), 4))), part,
        ArrayRef<int64_t>{lane});
  return part;
}

void sputnik::cpu::emitRoundedRow(Emit &e, Value in, Value out,
                                  int64_t features) {
  constexpr int64_t block = r1::kQuantBlock, group = r1::kActivationGroup,
                    vectors = block / kLanes;
  int64_t blocks = llvm::divideCeil(features, block);
  int64_t groups = llvm::divideCeil(features, group);
  Value scales = e.at(out, blocks * block);
  Value corrections = e.at(out, blocks * block + groups * 4);
  auto roundGroup = [&](Value index, int64_t exist) {
    Value start = e.mul(index, group);
    SmallVector<Value> x;
    for (int64_t i = 0; i < exist; i += block)
      for (int64_t j = i; j < i + block; j += kLanes)
        x.push_back(valuesOrZero(e, in, e.add(start, j), exist - j));
    RoundedBytes rounded = roundToBytes(e, x);
    Value sum;
    for (auto [i, words] : llvm::enumerate(rounded.words)) {
      e.store(narrowToBytes(e, words), e.at(out, e.add(start, i * kLanes)), 1);
      int64_t inBlock = i % vectors;
      sum = inBlock ? Value(arith::AddIOp::create(e.b, e.loc, sum, words))
                    : words;
      if (inBlock + 1 < vectors)
        continue;
      Value total = vector::ReductionOp::create(
          e.b, e.loc, vector::CombiningKind::ADD, sum);
      Value at =
          e.mul(e.add(e.mul(index, group / block), i / vectors), 4);
      e.store(arith::MulIOp::create(e.b, e.loc, total, e.i32(-128)),
              e.at(corrections, at), 4);
    }
    e.store(rounded.scale, e.at(scales, e.mul(index, 4)), 4);
  };
  int64_t whole = features / group;
  e.loop(e.i64(0), e.i64(whole), 1,
         [&](Value index) { roundGroup(index, group); });
  if (int64_t rest = features % group)
    roundGroup(e.i64(whole), rest);
}
