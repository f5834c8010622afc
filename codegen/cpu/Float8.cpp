//===- Float8.cpp - Weights of 8-bit floats in registers ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Float8.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// Vectors are of 64 bytes.
static constexpr int64_t kBytes = 64, kHalves = 32, kWords = 16;

SmallVector<Value, 4> sputnik::cpu::float8ToFloats(Emit &e, Value words) {
  auto splat = [&](int32_t value) { return e.splat(words.getType(), value); };
  SmallVector<Value, 4> floats;
  for (int64_t i = 0; i < 4; ++i) {
    // The byte at the top, then its exponent where f32 has one: the sign's
    // copies are masked out.
    Value top = i == 3 ? words
                       : Value(arith::ShLIOp::create(e.b, e.loc, words,
                                                     splat(24 - 8 * i)));
    Value bits = arith::AndIOp::create(
        e.b, e.loc, arith::ShRSIOp::create(e.b, e.loc, top, splat(4)),
        splat(static_cast<int32_t>(0x87f00000)));
    // The exponents' biases differ by 120. A product also makes those numbers
    // right that are subnormal in both.
    floats.push_back(e.mulf(
        arith::BitcastOp::create(e.b, e.loc, e.f32Vec(kWords), bits),
        e.splat(e.f32Vec(kWords), 0x1p120)));
  }
  return floats;
}

Value sputnik::cpu::float8ToFloat(Emit &e, Value byte) {
  Type word = e.b.getI32Type();
  Value bits = arith::ExtUIOp::create(e.b, e.loc, word, byte);
  auto field = [&](int32_t shift, int32_t mask) -> Value {
    return arith::AndIOp::create(
        e.b, e.loc,
        arith::ShRUIOp::create(e.b, e.loc, bits, e.i32(shift)), e.i32(mask));
  };
  // Subnormal numbers have the exponent of the smallest normal ones, without
  // the leading bit of their significand.
  Value exponent = field(3, 15);
  Value normal = arith::MinUIOp::create(e.b, e.loc, exponent, e.i32(1));
  Value significand = arith::AddIOp::create(
      e.b, e.loc, field(0, 7),
      arith::MulIOp::create(e.b, e.loc, normal, e.i32(8)));
  exponent = arith::MaxUIOp::create(e.b, e.loc, exponent, e.i32(1));
  auto asFloat = [&](Value v) -> Value {
    return arith::BitcastOp::create(e.b, e.loc, e.f32Type(), v);
  };
  auto shifted = [&](Value v, int32_t shift) -> Value {
    return arith::ShLIOp::create(e.b, e.loc, v, e.i32(shift));
  };
  // The significand counts eighths: 2^(exponent - 7 - 3), times 1 or -1.
  Value power = asFloat(shifted(
      arith::AddIOp::create(e.b, e.loc, exponent, e.i32(127 - 10)), 23));
  Value one = asFloat(arith::OrIOp::create(e.b, e.loc, shifted(field(7, 1), 31),
                                           e.i32(0x3f800000)));
  Value magnitude = e.mulf(
      arith::UIToFPOp::create(e.b, e.loc, e.f32Type(), significand), power);
  return e.mulf(magnitude, one);
}

void Float8Pairs::prepare(Emit &e) {
  SmallVector<int16_t> table(kHalves);
  for (int i = 1; i < 8; ++i)
    table[i] = static_cast<int16_t>(
        APFloat(static_cast<float>(i) * 0x1p-9f).bitcastToAPInt().getZExtValue()
        >> 16);
  subnormals = e.pin(arith::ConstantOp::create(
      e.b, e.loc,
      DenseElementsAttr::get(e.vecType(kHalves, e.b.getI16Type()),
                             ArrayRef(table))));
}

SmallVector<Value, 4> Float8Pairs::convert(Emit &e, Value words) const {
  VectorType bytesType = e.vecType(kBytes, e.b.getI8Type());
  VectorType halves = e.vecType(kHalves, e.b.getI16Type());
  Value bytes = LLVM::BitcastOp::create(e.b, e.loc, bytesType, words);
  Value zero = e.splat(bytesType, 0);
  auto splat = [&](int64_t value) {
    return e.splat(halves, static_cast<int16_t>(value));
  };
  SmallVector<Value, 4> pairs;
  for (int64_t first : {0, 2}) {
    // Each byte becomes the upper one of 16 bits, then is sign-extended.
    SmallVector<int64_t> order;
    for (int64_t i = 0; i < kHalves; ++i)
      order.append({kBytes, i / 2 * 4 + first + i % 2});
    Value spread = LLVM::BitcastOp::create(
        e.b, e.loc, halves,
        vector::ShuffleOp::create(e.b, e.loc, bytes, zero, order));
    Value wide = arith::ShRSIOp::create(e.b, e.loc, spread, splat(8));
    // The exponents' biases differ by 120, in bit 7 of a bf16.
    Value magnitude = arith::AndIOp::create(
        e.b, e.loc, arith::ShRSIOp::create(e.b, e.loc, spread, splat(4)),
        splat(0x07f0));
    Value normal = arith::AddIOp::create(e.b, e.loc, magnitude, splat(120 << 7));
    // A dot instruction takes subnormal operands as zero, and E4M3's are normal
    // in bf16: a permutation looks up the 5 lowest bits of each.
    assert(subnormals && "prepared before the loops");
    Value small = LLVM::CallIntrinsicOp::create(
                      e.b, e.loc, halves,
                      e.b.getStringAttr("llvm.x86.avx512.permvar.hi.512"),
                      ValueRange{subnormals, wide})
                      .getResult(0);
    Value isSmall = arith::CmpIOp::create(
        e.b, e.loc, arith::CmpIPredicate::eq,
        arith::AndIOp::create(e.b, e.loc, wide, splat(0x78)), splat(0));
    Value bits = arith::OrIOp::create(
        e.b, e.loc,
        arith::SelectOp::create(e.b, e.loc, isSmall, small, normal),
        arith::AndIOp::create(e.b, e.loc, wide, splat(0x8000)));
    pairs.push_back(LLVM::BitcastOp::create(
        e.b, e.loc, e.vecType(kHalves, e.b.getBF16Type()), bits));
  }
  return pairs;
}
