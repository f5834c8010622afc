//===- Float8.cpp - Weights of 8-bit floats in registers ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Float8.h"

#include "codegen/cpu/ByteDot.h"
#include "codegen/cpu/Target.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/bit.h"

#include <cmath>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// Vectors are of 64 bytes.
static constexpr int64_t kBytes = 64, kHalves = 32, kWords = 16;

std::pair<Value, Value> sputnik::cpu::widenPairs(Emit &e, Value words) {
  Type type = words.getType();
  Value low = arith::ShLIOp::create(e.b, e.loc, words, e.splat(type, 16));
  Value high = arith::AndIOp::create(e.b, e.loc, words,
                                     e.splat(type, int32_t(0xffff0000)));
  auto asF32 = [&](Value v) -> Value {
    return arith::BitcastOp::create(e.b, e.loc, e.f32Vec(kWords), v);
  };
  return {asF32(low), asF32(high)};
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

/// The bf16 of a magnitude, which has 7 bits.
static uint16_t magnitudeBits(int magnitude) {
  int exponent = magnitude >> 3, fraction = magnitude & 7;
  float value = exponent ? std::ldexp(8.0f + fraction, exponent - 10)
                         : std::ldexp(1.0f * fraction, -9);
  return llvm::bit_cast<uint32_t>(value) >> 16;
}

void Float8Values::prepare(Emit &e, r1::TargetAttr target) {
  if (target.getVectorBits() < 512 || !hasFeature(target, "avx512vbmi"))
    return;
  for (int half = 0; half < 2; ++half) {
    SmallVector<int8_t> low, high;
    for (int i = 0; i < kBytes; ++i) {
      uint16_t bits = magnitudeBits(half * kBytes + i);
      low.push_back(static_cast<int8_t>(bits));
      high.push_back(static_cast<int8_t>(bits >> 8));
    }
    VectorType type = e.vecType(kBytes, e.b.getI8Type());
    auto pin = [&](ArrayRef<int8_t> values) {
      return e.pin(arith::ConstantOp::create(
          e.b, e.loc, DenseElementsAttr::get(type, values)));
    };
    lower[half] = pin(low);
    upper[half] = pin(high);
  }
}

SmallVector<Value, 4> Float8Values::lookUpPairs(Emit &e, Value words) const {
  VectorType type = e.vecType(kBytes, e.b.getI8Type());
  Value bytes = LLVM::BitcastOp::create(e.b, e.loc, type, words);
  auto lookUp = [&](const Value (&table)[2]) { // The sign is not looked at.
    return callIntrinsic(e, "llvm.x86.avx512.vpermi2var.qi.512", type,
                         {table[0], bytes, table[1]});
  };
  Value sign = arith::AndIOp::create(e.b, e.loc, bytes, e.splat(type, -128));
  Value low = lookUp(lower);
  Value high = arith::OrIOp::create(e.b, e.loc, lookUp(upper), sign);
  SmallVector<Value, 4> pairs;
  for (int64_t first : {0, 2}) {
    SmallVector<int64_t> order;
    for (int64_t i = 0; i < kHalves; ++i) {
      int64_t byte = i / 2 * 4 + first + i % 2;
      order.append({byte, kBytes + byte});
    }
    pairs.push_back(LLVM::BitcastOp::create(
        e.b, e.loc, e.vecType(kHalves, e.b.getBF16Type()),
        vector::ShuffleOp::create(e.b, e.loc, low, high, order)));
  }
  return pairs;
}

SmallVector<Value, 4> Float8Values::floats(Emit &e, Value words) const {
  if (lower[0]) {
    SmallVector<Value, 4> result;
    for (Value pair : lookUpPairs(e, words)) {
      auto [even, odd] =
          widenPairs(e, LLVM::BitcastOp::create(e.b, e.loc, words.getType(), pair));
      result.append({even, odd});
    }
    return result;
  }
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

SmallVector<Value, 4> Float8Values::pairs(Emit &e, Value words) const {
  if (lower[0])
    return lookUpPairs(e, words);
  // A bf16 is the upper half of an f32, whose lower half is zero here.
  SmallVector<Value, 4> values = floats(e, words), pairs;
  for (int64_t i : {0, 2}) {
    auto bits = [&](Value v) -> Value {
      return arith::BitcastOp::create(e.b, e.loc, words.getType(), v);
    };
    Value even = arith::ShRUIOp::create(e.b, e.loc, bits(values[i]),
                                        e.splat(words.getType(), 16));
    pairs.push_back(LLVM::BitcastOp::create(
        e.b, e.loc, e.vecType(kHalves, e.b.getBF16Type()),
        arith::OrIOp::create(e.b, e.loc, even, bits(values[i + 1]))));
  }
  return pairs;
}
