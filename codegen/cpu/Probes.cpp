//===- Probes.cpp - Functions that measure or fill ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Probes.h"

#include "codegen/cpu/TileRegisters.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static func::FuncOp createFunction(OpBuilder &builder, ModuleOp code,
                                   StringRef name, TypeRange inputs,
                                   TypeRange results) {
  builder.setInsertionPointToEnd(code.getBody());
  auto function = func::FuncOp::create(
      builder, code.getLoc(), name, builder.getFunctionType(inputs, results));
  builder.setInsertionPointToStart(function.addEntryBlock());
  return function;
}

/// u64 probeRead(const u8 *data, u64 bytes): xor of everything.
static void emitProbeRead(OpBuilder &builder, ModuleOp code) {
  Emit e(builder, code.getLoc());
  func::FuncOp function = createFunction(builder, code, kProbeRead,
                                         {e.ptrType(), e.i64Type()},
                                         {e.i64Type()});
  Value data = function.getArgument(0), bytes = function.getArgument(1);
  // Four streams, as wide kernels have, each a cache line at a time.
  constexpr int64_t kStreams = 4, kLine = 64;
  Type line = e.vecType(8, e.i64Type());
  SmallVector<Value> zeros(kStreams, e.splat(line, 0));
  Value part = e.div(bytes, kStreams);
  SmallVector<Value> sums = e.loop(
      e.i64(0), part, kLine, zeros, [&](Value i, ValueRange carried) {
        SmallVector<Value> next;
        for (int64_t s = 0; s < kStreams; ++s) {
          Value at = e.at(data, e.add(e.mul(part, s), i));
          next.push_back(arith::XOrIOp::create(
              builder, e.loc, carried[s], e.load(line, at, kLine)));
        }
        return next;
      });
  for (int64_t s = 1; s < kStreams; ++s)
    sums[0] = arith::XOrIOp::create(builder, e.loc, sums[0], sums[s]);
  Value result = e.i64(0);
  for (int64_t lane = 0; lane < 8; ++lane)
    result = arith::XOrIOp::create(
        builder, e.loc, result,
        LLVM::ExtractElementOp::create(builder, e.loc, sums[0],
                                       e.i64(lane)));
  func::ReturnOp::create(builder, e.loc, result);
}

/// Multiplies tile registers `iterations` times; the multiply-adds of one.
static int64_t multiplyTiles(Emit &e, Value iterations,
                             TileRegisters::Element element) {
  constexpr int64_t kRows = TileRegisters::kRows,
                    kRowBytes = TileRegisters::kRowBytes;
  // Four chains of sums hide the latency; a long one, loads and stores.
  constexpr int64_t kChains = 4, kLinks = 32;
  constexpr TileRegisters::Shape whole = {kRows, kRowBytes};
  TileRegisters tiles(e);
  Type line = e.vecType(kRowBytes / 4, e.b.getI32Type());
  auto allocate = [&]() -> Value {
    Value memory = LLVM::AllocaOp::create(e.b, e.loc, e.ptrType(), line,
                                          e.i64(kRows), kRowBytes);
    for (int64_t row = 0; row < kRows; ++row)
      e.store(e.splat(line, 0), e.at(memory, row * kRowBytes), kRowBytes);
    return memory;
  };
  Value operands = allocate(), sums = allocate(), stride = e.i64(kRowBytes);
  e.loop(e.i64(0), iterations, 1, [&](Value) {
    Value a = tiles.load(whole, operands, stride);
    Value b = tiles.load(whole, operands, stride);
    SmallVector<Value> chains;
    for (int64_t i = 0; i < kChains; ++i)
      chains.push_back(tiles.load(whole, sums, stride));
    for (int64_t link = 0; link < kLinks; ++link)
      for (Value &sum : chains)
        sum = tiles.multiply(element, kRowBytes, sum, a, b);
    for (Value sum : chains)
      tiles.store(whole, sum, sums, stride);
  });
  int64_t columns =
      element == TileRegisters::Element::BF16 ? kRowBytes / 2 : kRowBytes;
  return kChains * kLinks * kRows * kRows * columns;
}

/// u64 probeDot(u64 iterations): the primitive on registers alone.
static void emitProbeDot(OpBuilder &builder, ModuleOp code,
                         r1::TargetAttr target, DotPrimitive dot) {
  Emit e(builder, code.getLoc());
  func::FuncOp function = createFunction(builder, code, kProbeDot,
                                         {e.i64Type()}, {e.i64Type()});
  if (dot.usesTiles()) {
    int64_t macs = multiplyTiles(e, function.getArgument(0),
                                 dot.getKind() == DotPrimitive::Kind::BF16Dot
                                     ? TileRegisters::Element::BF16
                                     : TileRegisters::Element::SignedByte);
    func::ReturnOp::create(builder, e.loc, e.mul(function.getArgument(0), macs));
    return;
  }
  int64_t perSum = std::max<int64_t>(1, 512 / target.getVectorBits());
  int64_t sums = target.getVectorRegisters() * 5 / 8 / perSum / dot.getRows();
  // Operands come from memory that LLVM cannot see through: a volatile store
  // alone would be forwarded to the loads.
  Value slot = LLVM::AllocaOp::create(builder, e.loc, e.ptrType(),
                                      e.vecType(32, e.f32Type()), e.i64(1), 64);
  auto asVolatile = [&](Value value) {
    LLVM::StoreOp::create(builder, e.loc, value, slot, 64, true);
  };
  asVolatile(e.splat(e.f32Vec(32), 0.0));
  Value holder = LLVM::AllocaOp::create(builder, e.loc, e.ptrType(),
                                        e.ptrType(), e.i64(1), 8);
  LLVM::StoreOp::create(builder, e.loc, slot, holder, 8, true);
  Value unknown = LLVM::LoadOp::create(builder, e.loc, e.ptrType(), holder, 8,
                                       /*isVolatile=*/true);
  auto [w, x] = dot.peakOperands(e, unknown);
  SmallVector<Value> zeros(sums, dot.peakZero(e));
  SmallVector<Value> totals =
      e.loop(e.i64(0), function.getArgument(0), 1, zeros,
             [&](Value, ValueRange carried) {
               SmallVector<Value> next;
               for (Value sum : carried) {
                 Value row = dot.accumulates()
                                 ? x
                                 : LLVM::LoadOp::create(
                                       builder, e.loc, x.getType(), unknown, 64,
                                       /*isVolatile=*/true);
                 next.push_back(dot.peak(e, w, row, sum));
               }
               return next;
             });
  for (Value total : totals)
    asVolatile(total);
  Value macs =
      e.mul(function.getArgument(0), sums * 16 * dot.getPeakColumns());
  func::ReturnOp::create(builder, e.loc, macs);
}

Value sputnik::cpu::emitRandomWord(Emit &e, Value index, Value seed) {
  auto shiftXor = [&](Value v, int64_t bits) -> Value {
    Value shifted = arith::ShRUIOp::create(e.b, e.loc, v, e.i64(bits));
    return arith::XOrIOp::create(e.b, e.loc, v, shifted);
  };
  // SplitMix64 (Steele, Lea, Flood 2014).
  Value z = e.add(seed, e.mul(e.add(index, 1),
                              static_cast<int64_t>(0x9e3779b97f4a7c15)));
  z = e.mul(shiftXor(z, 30), static_cast<int64_t>(0xbf58476d1ce4e5b9));
  z = e.mul(shiftXor(z, 27), static_cast<int64_t>(0x94d049bb133111eb));
  z = shiftXor(z, 31);
  z = arith::AndIOp::create(e.b, e.loc, z,
                            e.i64(static_cast<int64_t>(0x807e807e807e807e)));
  return arith::OrIOp::create(e.b, e.loc, z, e.i64(0x3c803c803c803c80));
}

/// void fillRandom(u8 *weights, u64 begin, u64 end, u64 seed)
static void emitFillRandom(OpBuilder &builder, ModuleOp code) {
  Emit e(builder, code.getLoc());
  func::FuncOp function = createFunction(
      builder, code, kFillRandom,
      {e.ptrType(), e.i64Type(), e.i64Type(), e.i64Type()}, {});
  Value weights = function.getArgument(0), seed = function.getArgument(3);
  e.loop(function.getArgument(1), function.getArgument(2), 8, [&](Value at) {
    e.store(emitRandomWord(e, e.div(at, 8), seed), e.at(weights, at), 8);
  });
  func::ReturnOp::create(builder, e.loc);
}

void sputnik::cpu::emitProbes(ModuleOp code, r1::TargetAttr target,
                              DotPrimitive dot) {
  OpBuilder builder(code.getContext());
  emitProbeRead(builder, code);
  emitProbeDot(builder, code, target, dot);
  emitFillRandom(builder, code);
}
