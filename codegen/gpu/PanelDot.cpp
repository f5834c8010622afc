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
  case r1::Scheme::FP8:
    return failure();
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
  if (!integer) {
    Value address =
        k.at(panel, k.add(k.mul(chunk, 512), k.mul(k.lane, 16)));
    return {k.loadStreamed(address), nullptr, nullptr};
  }
  // A part's 64 bytes lie in its block, and that in its group.
  Value part = k.add(k.mul(chunk, parts()), lanePart(k));
  int64_t blockParts = r1::kQuantBlock / partColumns();
  Value block = k.div(part, blockParts);
  Value group = k.at(panel, k.mul(k.div(block, encoding.getGroupBlocks()),
                                  encoding.getGroupBytes()));
  Value inGroup = k.rem(block, encoding.getGroupBlocks());
  Value quants = k.at(
      group, k.add(k.mul(inGroup, encoding.getBlockBytes()),
                   k.add(k.mul(k.rem(part, blockParts), 64),
                         k.add(k.mul(laneRow(k), 4),
                               encoding.getGroupScaleBytes()))));
  Weights weights{k.loadStreamed(quants), nullptr, nullptr};
  Value scales = k.at(group, k.mul(k.add(k.mul(inGroup, kPanel), laneRow(k)),
                                   encoding.getScaleBytes()));
  if (encoding.getScheme() != r1::Scheme::Q4) {
    weights.scales = k.load(k.f32Vec(4), scales, 16);
    return weights;
  }
  weights.steps = arith::ExtSIOp::create(
      k.b, k.loc, k.vecType(4, k.b.getI32Type()),
      k.load(k.vecType(4, k.b.getI8Type()), scales, 4));
  Value rowScales =
      k.load(k.f32Vec(4),
             k.at(panel, k.add(k.mul(laneRow(k), 4),
                               encoding.getRowScaleOffset(columns))),
             16);
  weights.scales = k.mulf(
      arith::SIToFPOp::create(k.b, k.loc, k.f32Vec(4), weights.steps),
      rowScales);
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
  Value group = k.div(block, r1::kActivationGroup / r1::kQuantBlock);
  Value scale =
      k.load(k.f32Type(),
             k.at(x, k.add(k.mul(group, 4), blocks * r1::kQuantBlock)), 4);
  Value moved; // What a table moved by one adds.
  if (weights.steps) {
    Value ones = k.i32(0x01010101);
    moved = k.dot4(ones, first, k.dot4(ones, second, k.i32(0)));
  }
  for (int64_t i = 0; i < 4; ++i) {
    Value word = lane(weights.words, i), dot;
    if (isNibbles()) {
      dot = k.dot4(lookUp(k, word), first, k.i32(0));
      dot = k.dot4(lookUp(k, k.shiftRight32(word, 16)), second, dot);
    } else {
      dot = k.dot4(word, first, k.i32(0));
    }
    if (moved) {
      Value shift = arith::MulIOp::create(
          k.b, k.loc, k.and32(lane(weights.steps, i), 1),
          k.i32(r1::kQ4Shift));
      dot = arith::AddIOp::create(
          k.b, k.loc, dot, arith::MulIOp::create(k.b, k.loc, moved, shift));
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
