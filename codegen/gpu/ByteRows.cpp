//===- ByteRows.cpp - Values rounded to 8 bits ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/ByteRows.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

std::pair<Value, Value> sputnik::gpu::byteScale(Kernel &k, Value peak) {
  Value some = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT,
                                     peak, k.f32(0.0f));
  return {k.select(some, k.divf(k.f32(127.0f), peak), k.f32(0.0f)),
          k.mulf(peak, k.f32(1.0f / 127.0f))};
}

Value sputnik::gpu::toByte(Kernel &k, Value x, Value inverse) {
  Value rounded = math::RoundEvenOp::create(k.b, k.loc, k.mulf(x, inverse));
  return arith::FPToSIOp::create(k.b, k.loc, k.b.getI32Type(), rounded);
}

void sputnik::gpu::roundBlocks(Kernel &k, const ByteBlocks &blocks) {
  // All lanes of a warp go round equally often.
  k.loop(k.member(), k.i64(blocks.count * kWarp), k.members(), [&](Value item) {
    Value block = k.div(item, kWarp);
    SmallVector<Value> x;
    Value peak = k.f32(0);
    auto forOwn = [&](function_ref<void(size_t, Value, Value)> body) {
      for (int64_t first = 0; first < blocks.features; first += kWarp) {
        Value feature = k.add(k.lane, first);
        body(first / kWarp, feature,
             k.less(feature, k.i64(blocks.features)));
      }
    };
    forOwn([&](size_t, Value feature, Value exists) {
      x.push_back(k.ifThenElse(exists, {k.f32(0)}, [&] {
        return SmallVector<Value>{blocks.load(block, feature)};
      })[0]);
      peak = k.maxf(peak, math::AbsFOp::create(k.b, k.loc, x.back()));
    });
    auto [inverse, scale] = byteScale(k, k.warpMax(peak));
    forOwn([&, inverse = inverse](size_t i, Value feature, Value exists) {
      Value byte = arith::TruncIOp::create(k.b, k.loc, k.b.getI8Type(),
                                           toByte(k, x[i], inverse));
      k.ifThen(exists, [&] { blocks.store(block, feature, byte); });
    });
    k.ifThen(k.equal(k.lane, k.i64(0)),
             [&, scale = scale] { blocks.storeScale(block, scale); });
  });
}

/// 2^23: a float whose lowest bits, as an integer, are added to it.
static constexpr int32_t kMagicBits = 0x4b000000;
static constexpr float kMagic = 8388608.0f;

SmallVector<Value> sputnik::gpu::bytesToFloats(Kernel &k, Value word) {
  // Moved up by 128, a byte is unsigned.
  Value moved = arith::XOrIOp::create(k.b, k.loc, word,
                                      k.i32(static_cast<int32_t>(0x80808080)));
  SmallVector<Value> floats;
  for (int32_t i = 0; i < 4; ++i) {
    Value bits = k.permuteBytes(moved, k.i32(kMagicBits), k.i32(0x7540 | i));
    floats.push_back(
        k.subf(arith::BitcastOp::create(k.b, k.loc, k.f32Type(), bits),
               k.f32(kMagic + 128)));
  }
  return floats;
}
