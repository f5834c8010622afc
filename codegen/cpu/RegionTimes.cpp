//===- RegionTimes.cpp - Code that notes when regions ran -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/RegionTimes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "runtime/Abi.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr llvm::StringLiteral kClock = "sputnik_clock";
static constexpr llvm::StringLiteral kNote = "sputnik_note_region";

/// i64 sputnik_clock(): nanoseconds of the C library's monotonic clock.
static void emitClock(OpBuilder &builder, Location loc) {
  constexpr int32_t kMonotonic = 1;
  constexpr int64_t kTimespecBytes = 16;
  Emit e(builder, loc);
  OpBuilder::InsertionGuard guard(builder);
  auto getTime = func::FuncOp::create(
      builder, loc, "clock_gettime",
      builder.getFunctionType({builder.getI32Type(), e.ptrType()},
                              {builder.getI32Type()}));
  getTime.setPrivate();
  auto function = func::FuncOp::create(
      builder, loc, kClock, builder.getFunctionType({}, {e.i64Type()}));
  function.setPrivate();
  builder.setInsertionPointToStart(function.addEntryBlock());
  Value time = LLVM::AllocaOp::create(builder, loc, e.ptrType(),
                                      builder.getI8Type(),
                                      e.i64(kTimespecBytes), 8);
  func::CallOp::create(builder, loc, getTime,
                       ValueRange{e.i32(kMonotonic), time});
  Value seconds = e.load(e.i64Type(), time, 8);
  Value rest = e.load(e.i64Type(), e.at(time, 8), 8);
  func::ReturnOp::create(builder, loc,
                         e.add(e.mul(seconds, 1'000'000'000), rest));
}

/// void sputnik_note_region(abi::ThreadProfile *, i64 begin, i32 region,
///                          i32 layer)
static void emitNote(OpBuilder &builder, Location loc) {
  Emit e(builder, loc);
  OpBuilder::InsertionGuard guard(builder);
  Type i32 = builder.getI32Type();
  auto function = func::FuncOp::create(
      builder, loc, kNote,
      builder.getFunctionType({e.ptrType(), e.i64Type(), i32, i32}, {}));
  function.setPrivate();
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  Value profile = entry->getArgument(0);
  Value wanted = LLVM::ICmpOp::create(
      builder, loc, LLVM::ICmpPredicate::ne, profile,
      LLVM::ZeroOp::create(builder, loc, e.ptrType()));
  e.ifThen(wanted, [&] {
    auto field = [&](Type type, size_t offset) {
      return e.load(type, e.at(profile, offset), 8);
    };
    Value end = func::CallOp::create(builder, loc, kClock, e.i64Type())
                    .getResult(0);
    Value times = field(e.ptrType(), offsetof(abi::ThreadProfile, times));
    Value mask = field(e.i64Type(), offsetof(abi::ThreadProfile, mask));
    Value count = field(e.i64Type(), offsetof(abi::ThreadProfile, count));
    Value slot = arith::AndIOp::create(builder, loc, count, mask);
    Value time = e.at(times, e.mul(slot, sizeof(abi::RegionTime)));
    e.store(entry->getArgument(1),
            e.at(time, offsetof(abi::RegionTime, begin)), 8);
    e.store(end, e.at(time, offsetof(abi::RegionTime, end)), 8);
    e.store(entry->getArgument(2),
            e.at(time, offsetof(abi::RegionTime, region)), 4);
    e.store(entry->getArgument(3),
            e.at(time, offsetof(abi::RegionTime, layer)), 4);
    e.store(e.add(count, 1),
            e.at(profile, offsetof(abi::ThreadProfile, count)), 8);
  });
  func::ReturnOp::create(builder, loc);
}

void sputnik::cpu::emitRegionTimes(OpBuilder &builder, Location loc) {
  emitClock(builder, loc);
  emitNote(builder, loc);
}

Value sputnik::cpu::emitThreadProfile(Phase &phase, Value step) {
  Value all = phase.load(phase.ptrType(),
                         phase.at(step, offsetof(abi::Step, profile)), 8);
  Value null = LLVM::ZeroOp::create(phase.b, phase.loc, phase.ptrType());
  Value none = LLVM::ICmpOp::create(phase.b, phase.loc,
                                    LLVM::ICmpPredicate::eq, all, null);
  Value own =
      phase.at(all, phase.mul(phase.thread, sizeof(abi::ThreadProfile)));
  return arith::SelectOp::create(phase.b, phase.loc, none, null, own);
}

Value sputnik::cpu::emitRegionBegin(Phase &phase) {
  return func::CallOp::create(phase.b, phase.loc, kClock, phase.i64Type())
      .getResult(0);
}

void sputnik::cpu::emitRegionEnd(Phase &phase, Value profile, Value begin,
                                 int64_t region, Value layer) {
  Type i32 = phase.b.getI32Type();
  Value index =
      layer ? arith::TruncIOp::create(phase.b, phase.loc, i32, layer)
            : phase.i32(static_cast<int32_t>(abi::kNoLayer));
  func::CallOp::create(
      phase.b, phase.loc, kNote, TypeRange{},
      ValueRange{profile, begin, phase.i32(static_cast<int32_t>(region)),
                 index});
}
