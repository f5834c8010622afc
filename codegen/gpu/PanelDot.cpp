//===- PanelDot.cpp - A warp's inner product with packed rows -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/PanelDot.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

FailureOr<PanelDot> PanelDot::get(r1::EncodingAttr encoding, Type element) {
  if (!encoding || encoding.getPanel() != kPanel)
    return failure();
  switch (encoding.getScheme()) {
  case r1::Scheme::F32:
  case r1::Scheme::BF16:
    if (!element.isF32() ||
        encoding.getStep() !=
            (encoding.getScheme() == r1::Scheme::F32 ? 4 : 8))
      return failure();
    return PanelDot(encoding, /*integer=*/false);
  case r1::Scheme::Q8:
  case r1::Scheme::Q4:
  case r1::Scheme::Q4Plain:
    if (!element.isInteger(8))
      return failure();
    return PanelDot(encoding, /*integer=*/true);
  }
  return failure();
}

int64_t PanelDot::partColumns() const {
  return isNibbles() ? 2 * encoding.getStep() : encoding.getStep();
}

int64_t PanelDot::rowParts(int64_t columns) const {
  int64_t unit = integer ? r1::kQuantBlock : partColumns();
  return llvm::alignTo(columns, unit) / partColumns();
}

PanelDot::Weights PanelDot::load(Kernel &k, Value panel, int64_t columns,
                                 Value chunk) const {
  Value address = k.at(panel, k.add(k.mul(chunk, 512), k.mul(k.lane, 16)));
  Weights weights{k.loadStreamed(address), nullptr};
  if (!integer)
    return weights;
  Value part = k.add(k.mul(chunk, parts()), lanePart(k));
  Value block = k.div(part, r1::kQuantBlock / partColumns());
  Value scale = k.add(k.mul(block, kPanel), laneRow(k));
  Type stored = encoding.getScaleBytes() == 2 ? Type(k.b.getBF16Type())
                                              : k.f32Type();
  Value ptr = k.at(panel, k.add(k.mul(scale, encoding.getScaleBytes()),
                                encoding.getQuantBytes(columns)));
  Value loaded = k.load(k.vecType(4, stored), ptr,
                        4 * encoding.getScaleBytes());
  weights.scales = stored.isF32()
                       ? loaded
                       : Value(arith::ExtFOp::create(k.b, k.loc, k.f32Vec(4),
                                                     loaded));
  return weights;
}

/// The value of a nibble of scheme q4 or q4_plain, as a byte.
static uint32_t nibbleByte(r1::Scheme scheme, int64_t nibble) {
  int64_t value =
      scheme == r1::Scheme::Q4 ? r1::kQ4Table[nibble] : nibble - 8;
  return static_cast<uint8_t>(value);
}

/// The bytes that the four low nibbles of a word stand for. A byte permutation
/// looks up three bits; the fourth chooses between two of them.
Value PanelDot::lookUp(Kernel &k, Value nibbles) const {
  auto table = [&](int64_t first) {
    uint32_t word = 0;
    for (int64_t i = 0; i < 4; ++i)
      word |= nibbleByte(encoding.getScheme(), first + i) << (8 * i);
    return k.i32(static_cast<int32_t>(word));
  };
  Value three = k.and32(nibbles, 0x7777);
  Value low = k.permuteBytes(table(0), table(4), three);
  Value high = k.permuteBytes(table(8), table(12), three);
  Value fourth = k.shiftRight32(k.and32(nibbles, 0x8888), 1);
  return k.permuteBytes(low, high, k.or32(fourth, 0x3210));
}

SmallVector<Value> PanelDot::multiply(Kernel &k, const Weights &weights,
                                      Value x, int64_t columns, Value chunk,
                                      ValueRange sums) const {
  Type i32Type = k.b.getI32Type();
  auto lane = [&](Value vector, int64_t i) -> Value {
    return LLVM::ExtractElementOp::create(k.b, k.loc, vector, k.i32(i));
  };
  Value part = k.add(k.mul(chunk, parts()), lanePart(k));
  SmallVector<Value> result(sums);
  if (!integer) {
    Value at = k.at(x, k.mul(part, 4 * partColumns()));
    for (int64_t i = 0; i < partColumns(); i += 4) {
      Value four = k.load(k.f32Vec(4), k.at(at, 4 * i), 16);
      for (int64_t j = 0; j < 4; ++j) {
        Value word = lane(weights.words, partColumns() == 4 ? j : (i + j) / 2);
        if (partColumns() == 8)
          // The even column lies in the low half.
          word = (i + j) % 2
                     ? k.and32(word, static_cast<int32_t>(0xffff0000))
                     : Value(arith::ShLIOp::create(k.b, k.loc, word,
                                                   k.i32(16)));
        Value weight =
            arith::BitcastOp::create(k.b, k.loc, k.f32Type(), word);
        Value &sum = result[j % 2];
        sum = k.fma(weight, lane(four, j), sum);
      }
    }
    return result;
  }
  Value words = k.at(x, k.mul(part, partColumns()));
  Value first = k.load(i32Type, words, 4), second;
  if (isNibbles()) {
    // Nibbles come in the order of columns 0, 4, 1, 5 and 2, 6, 3, 7.
    Value last = k.load(i32Type, k.at(words, 4), 4);
    second = k.permuteBytes(first, last, k.i32(0x7362));
    first = k.permuteBytes(first, last, k.i32(0x5140));
  }
  int64_t blocks = llvm::divideCeil(columns, r1::kQuantBlock);
  Value block = k.div(part, r1::kQuantBlock / partColumns());
  Value scale =
      k.load(k.f32Type(),
             k.at(x, k.add(k.mul(block, 4), blocks * r1::kQuantBlock)), 4);
  for (int64_t i = 0; i < 4; ++i) {
    Value word = lane(weights.words, i), dot;
    if (isNibbles()) {
      dot = k.dot4(lookUp(k, word), first, k.i32(0));
      dot = k.dot4(lookUp(k, k.shiftRight32(word, 16)), second, dot);
    } else {
      dot = k.dot4(word, first, k.i32(0));
    }
    Value product =
        arith::SIToFPOp::create(k.b, k.loc, k.f32Type(), dot);
    result[i] = k.fma(product, k.mulf(lane(weights.scales, i), scale),
                      result[i]);
  }
  return result;
}

SmallVector<Value> PanelDot::reduce(Kernel &k, ValueRange sums) const {
  int64_t lanes = kWarp / parts();
  if (!integer)
    return {k.warpSum(k.addf(sums[0], sums[1]), lanes)};
  SmallVector<Value> result;
  for (Value sum : sums)
    result.push_back(k.warpSum(sum, lanes));
  return result;
}
