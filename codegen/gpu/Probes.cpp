//===- Probes.cpp - Kernels that measure or fill --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Probes.h"

#include "codegen/cpu/Probes.h"
#include "codegen/gpu/Kernel.h"
#include "runtime/Abi.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

static_assert(abi::kProbeThreads == kThreads);

/// Bytes that a thread reads or writes at a time.
static constexpr int64_t kPiece = 16;
/// What a result is compared with, so that it is needed.
static constexpr int32_t kUnlikely = 0x5bd1e995;

/// Independent products of a warp: as many as hide the latency of one.
static constexpr int64_t kProducts = 8;
const int64_t sputnik::gpu::kDotMacs = kWarps * kProducts * 16 * 8 * 16;

/// void (u8 *weights, u64 bytes, u64 seed)
static void emitFill(OpBuilder &builder, ModuleOp code, r1::TargetAttr target) {
  Type ptr = LLVM::LLVMPointerType::get(builder.getContext());
  Type i64 = builder.getI64Type();
  Kernel k(builder, code, abi::kFillKernel, {ptr, i64, i64}, target);
  Value weights = k.argument(0), bytes = k.argument(1), seed = k.argument(2);
  Value first = k.add(k.mul(k.block, abi::kFillBytes), k.mul(k.thread, kPiece));
  for (int64_t i = 0; i < int64_t(abi::kFillBytes); i += kThreads * kPiece) {
    Value offset = k.add(first, i);
    k.ifThen(k.less(offset, bytes), [&] {
      Value index = k.div(offset, 8), to = k.at(weights, offset);
      for (int64_t word = 0; word < kPiece / 8; ++word)
        k.store(cpu::emitRandomWord(k, k.add(index, word), seed),
                k.at(to, word * 8), 8);
    });
  }
  k.finish();
}

/// void (const u8 *data, u64 bytes, u32 *kept): xor of everything.
static void emitRead(OpBuilder &builder, ModuleOp code, r1::TargetAttr target) {
  Type ptr = LLVM::LLVMPointerType::get(builder.getContext());
  Kernel k(builder, code, abi::kReadKernel, {ptr, builder.getI64Type(), ptr},
           target);
  Value bytes = k.argument(1), kept = k.argument(2);
  Value own = k.at(k.argument(0),
                   k.add(k.mul(k.block, bytes), k.mul(k.thread, kPiece)));
  Type piece = k.vecType(kPiece / 4, builder.getI32Type());
  Value none = arith::ConstantOp::create(builder, k.loc,
                                         builder.getZeroAttr(piece));
  Value sum = k.loop(k.i64(0), bytes, abi::kReadBytes, none,
                     [&](Value offset, ValueRange carried) {
                       // All loads before the first use.
                       SmallVector<Value> pieces;
                       for (int64_t i = 0; i < int64_t(abi::kReadBytes);
                            i += kThreads * kPiece)
                         pieces.push_back(
                             k.loadStreamed(k.at(own, k.add(offset, i))));
                       Value sum = carried[0];
                       for (Value next : pieces)
                         sum = arith::XOrIOp::create(builder, k.loc, sum, next);
                       return SmallVector<Value>{sum};
                     })[0];
  Value word;
  for (int64_t i = 0; i < kPiece / 4; ++i) {
    Value part = LLVM::ExtractElementOp::create(builder, k.loc, sum, k.i64(i));
    word = word ? arith::XOrIOp::create(builder, k.loc, word, part) : part;
  }
  k.ifThen(k.equal(word, k.i32(kUnlikely)), [&] { k.store(word, kept, 4); });
  k.finish();
}

/// void (u64 iterations, f32 *kept)
static void emitDot(OpBuilder &builder, ModuleOp code, r1::TargetAttr target) {
  Kernel k(builder, code, abi::kDotKernel,
           {builder.getI64Type(), LLVM::LLVMPointerType::get(builder.getContext())},
           target);
  // Random operands: the rate depends on how many bits change.
  int64_t words = 0;
  auto registers = [&](int64_t count) {
    SmallVector<Value> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(arith::TruncIOp::create(
          builder, k.loc, builder.getI32Type(),
          cpu::emitRandomWord(k, k.add(k.thread, kThreads * words++),
                              k.i64(0))));
    return values;
  };
  SmallVector<Value> a = registers(4);
  SmallVector<SmallVector<Value>> columns;
  for (int64_t i = 0; i < kProducts; ++i)
    columns.push_back(registers(2));
  SmallVector<Value> zeros(kProducts * 4, k.f32(0));
  SmallVector<Value> totals =
      k.loop(k.i64(0), k.argument(0), 1, zeros,
             [&](Value, ValueRange carried) {
               SmallVector<Value> next;
               for (auto [i, column] : llvm::enumerate(columns))
                 llvm::append_range(
                     next, k.multiplyMatrices(a, column,
                                              carried.slice(i * 4, 4)));
               return next;
             });
  Value total = totals[0];
  for (Value next : ArrayRef(totals).drop_front())
    total = k.addf(total, next);
  Value bits = LLVM::BitcastOp::create(builder, k.loc, builder.getI32Type(), total);
  k.ifThen(k.equal(bits, k.i32(kUnlikely)),
           [&] { k.store(total, k.argument(1), 4); });
  k.finish();
}

void sputnik::gpu::emitProbes(ModuleOp code, r1::TargetAttr target) {
  OpBuilder builder(code.getContext());
  emitFill(builder, code, target);
  emitRead(builder, code, target);
  emitDot(builder, code, target);
}
