//===- Barrier.cpp - Where threads wait for each other --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Barrier.h"

#include "codegen/cpu/Emit.h"
#include "runtime/Abi.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// Spins a while before it gives its time slice away: threads may outnumber
/// cores.
static constexpr int64_t kSpins = 4096;
static constexpr int64_t kCacheLine = 64;

void sputnik::cpu::emitBarrier(OpBuilder &builder, Location loc) {
  Emit e(builder, loc);
  OpBuilder::InsertionGuard guard(builder);
  auto yieldType = builder.getFunctionType({}, {builder.getI32Type()});
  auto schedYield =
      func::FuncOp::create(builder, loc, "sched_yield", yieldType);
  schedYield.setPrivate();
  auto type = builder.getFunctionType(
      {e.ptrType(), e.i64Type(), e.ptrType(), e.i64Type()}, {});
  auto function = func::FuncOp::create(builder, loc, kBarrierFunction, type);
  function.setPrivate();
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  Value barrier = entry->getArgument(0), threads = entry->getArgument(1);
  Value ahead = entry->getArgument(2), bytes = entry->getArgument(3);
  Value generationPtr = e.at(barrier, offsetof(abi::Barrier, generation));
  Value one = e.i32(1), zero = e.i32(0);
  auto load = [&](Value ptr) -> Value {
    return LLVM::LoadOp::create(builder, loc, builder.getI32Type(), ptr, 4,
                                false, false, false, false,
                                LLVM::AtomicOrdering::acquire);
  };
  auto store = [&](Value value, Value ptr) {
    LLVM::StoreOp::create(builder, loc, value, ptr, 4, false, false, false,
                          LLVM::AtomicOrdering::release);
  };
  Value many = e.less(e.i64(1), threads);
  e.ifThen(many, [&] {
    Value generation = load(generationPtr);
    Value before = LLVM::AtomicRMWOp::create(
        builder, loc, LLVM::AtomicBinOp::add, barrier, one,
        LLVM::AtomicOrdering::acq_rel);
    Value last = e.equal(e.add(e.widen(before), 1), threads);
    scf::IfOp::create(
        builder, loc, last,
        [&](OpBuilder &, Location) {
          store(zero, barrier);
          Value next =
              arith::AddIOp::create(builder, loc, generation, one);
          store(next, generationPtr);
          scf::YieldOp::create(builder, loc);
        },
        [&](OpBuilder &, Location) {
          scf::WhileOp::create(
              builder, loc, TypeRange{e.i64Type()}, ValueRange{e.i64(0)},
              [&](OpBuilder &, Location, ValueRange args) {
                Value waiting = e.equal(load(generationPtr), generation);
                scf::ConditionOp::create(builder, loc, waiting, args);
              },
              [&](OpBuilder &, Location, ValueRange args) {
                Value offset = e.mul(args[0], kCacheLine);
                e.ifThen(e.less(offset, bytes), [&] {
                  LLVM::Prefetch::create(builder, loc, e.at(ahead, offset),
                                         /*rw=*/0, /*hint=*/2, /*cache=*/1);
                });
                Value spins = e.add(args[0], 1);
                e.ifThen(e.less(e.i64(kSpins), spins), [&] {
                  func::CallOp::create(builder, loc, schedYield, ValueRange{});
                });
                scf::YieldOp::create(builder, loc, spins);
              });
          scf::YieldOp::create(builder, loc);
        });
  });
  func::ReturnOp::create(builder, loc);
}
