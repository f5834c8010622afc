//===- Float8.cpp - Weights of 8-bit floats in registers ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// E4M3 has a bias of 7, f16 one of 15, bf16 one of 127. The bits of a number at
// the place of exponent and significand of a wider one are that number, subnormal
// or not, times two to the difference of the biases.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/Float8.h"

#include "codegen/gpu/Chip.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

static bool converts(r1::TargetAttr target) {
  return getCapability(target.getCpu()).number >= 89;
}

float sputnik::gpu::float8Factor(r1::TargetAttr target) {
  return converts(target) ? 1.0f : 0x1p8f;
}

/// Two numbers, from `first` on, in the bits of two wider ones whose exponent
/// begins `shift` bits lower.
static Value spread(Kernel &k, Value word, int64_t first, int32_t shift) {
  // Each is the upper byte of 16 bits.
  Value upper = k.permuteBytes(word, k.i32(0),
                               k.i32(first ? 0x3424 : 0x1404));
  int32_t magnitude = 0x7f00 >> shift;
  Value moved = k.and32(k.shiftRight32(upper, shift),
                        magnitude << 16 | magnitude);
  return arith::OrIOp::create(
      k.b, k.loc, moved, k.and32(upper, static_cast<int32_t>(0x80008000)));
}

SmallVector<Value> sputnik::gpu::float8ToFloats(Kernel &k, Value word) {
  Type halves = k.vecType(2, k.b.getF16Type());
  SmallVector<Value> floats;
  for (int64_t first : {0, 2}) {
    Value pair;
    if (converts(k.target)) {
      Value bytes = arith::TruncIOp::create(
          k.b, k.loc, k.b.getI16Type(),
          first ? k.shiftRight32(word, 16) : word);
      pair = LLVM::CallIntrinsicOp::create(
                 k.b, k.loc, halves,
                 k.b.getStringAttr("llvm.nvvm.e4m3x2.to.f16x2.rn"),
                 ValueRange{bytes})
                 .getResult(0);
    } else {
      pair = LLVM::BitcastOp::create(k.b, k.loc, halves,
                                     spread(k, word, first, 1));
    }
    for (int32_t i = 0; i < 2; ++i)
      floats.push_back(LLVM::FPExtOp::create(
          k.b, k.loc, k.f32Type(),
          LLVM::ExtractElementOp::create(k.b, k.loc, pair, k.i32(i))));
  }
  return floats;
}

SmallVector<Value> sputnik::gpu::float8ToPairs(Kernel &k, Value word) {
  Type pair = k.vecType(2, k.b.getBF16Type());
  SmallVector<Value> pairs;
  for (int64_t first : {0, 2}) {
    Value bits =
        LLVM::BitcastOp::create(k.b, k.loc, pair, spread(k, word, first, 4));
    Value exact = math::FmaOp::create(k.b, k.loc, bits, k.splat(pair, 0x1p120),
                                      k.splat(pair, -0.0));
    pairs.push_back(
        LLVM::BitcastOp::create(k.b, k.loc, k.b.getI32Type(), exact));
  }
  return pairs;
}
