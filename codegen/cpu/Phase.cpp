//===- Phase.cpp - What kernels share while a phase is emitted ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Phase.h"

#include "codegen/cpu/Barrier.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "runtime/Abi.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

Phase::Phase(OpBuilder &builder, Location loc, r1::PhaseAttr attr,
             r1::TargetAttr target, int64_t arenaBytes, int64_t optLevel)
    : Emit(builder, loc), attr(attr), target(target), optLevel(optLevel),
      arenaBytes(llvm::alignTo(arenaBytes, 64)) {
  useLibm = optLevel == 0;
}

void Phase::begin(Value step, Value threadId, Value threadCount) {
  thread = threadId;
  threads = threadCount;
  auto field = [&](Type type, size_t offset) {
    return load(type, at(step, offset), 8);
  };
  rowCount = field(i64Type(), offsetof(abi::Step, rows));
  outputCount = field(i64Type(), offsetof(abi::Step, numOutputs));
  weights = field(ptrType(), offsetof(abi::Step, weights));
  caches = field(ptrType(), offsetof(abi::Step, caches));
  logits = field(ptrType(), offsetof(abi::Step, logits));
  arena = field(ptrType(), offsetof(abi::Step, arena));
  observed = field(ptrType(), offsetof(abi::Step, observed));
  barrier = field(ptrType(), offsetof(abi::Step, barrier));
}

Rows &Phase::rows(Value value) {
  auto it = buffers.find(value);
  assert(it != buffers.end() && "value has no buffer");
  return it->second;
}

Phase::RowState Phase::skipRows(Value skipped) {
  RowState state{rowCount, buffers};
  skippedRows = skipped;
  rowCount = sub(rowCount, skipped);
  for (auto &[value, rows] : buffers)
    if (rows.count == state.rowCount) {
      rows.base = rowPtr(rows, skipped);
      rows.count = rowCount;
    }
  return state;
}

void Phase::restoreRows(RowState state) {
  skippedRows = nullptr;
  rowCount = state.rowCount;
  buffers = std::move(state.buffers);
}

Value Phase::index(Value tensor, Value row) {
  return widen(load(b.getI32Type(), rowPtr(rows(tensor), row), 4));
}

Value Phase::weightPtr(Operation *user, FlatSymbolRefAttr name, Value layer) {
  auto derived =
      cast<r1::DerivedOp>(SymbolTable::lookupNearestSymbolFrom(user, name));
  r1::PlacementAttr placement = *derived.getPlacement();
  Value offset = i64(placement.getOffset());
  if (layer)
    offset = add(offset, mul(scalars.lookup(layer), placement.getStride()));
  return at(weights, offset);
}

Value Phase::allocateScratch(int64_t bytes) {
  int64_t offset = scratchUsed;
  scratchUsed += llvm::alignTo(bytes, 64);
  scratchPeak = std::max(scratchPeak, scratchUsed);
  return at(scratch, offset);
}

Value Phase::allocateShared(int64_t bytes) {
  // Regions follow one another: what one shares, the next may overwrite.
  sharedBytes = std::max<int64_t>(sharedBytes, llvm::alignTo(bytes, 64));
  return shared;
}

std::pair<Value, Value> Phase::share(Value count) {
  return {div(mul(count, thread), threads),
          div(mul(count, add(thread, 1)), threads)};
}

void Phase::wait(std::optional<Bytes> ahead) {
  Value address = ahead ? ahead->address : weights;
  Value count = ahead ? ahead->count : i64(0);
  func::CallOp::create(b, loc, kBarrierFunction, TypeRange{},
                       ValueRange{barrier, threads, address, count});
}

Value sputnik::cpu::cacheLayerPtr(Phase &phase, r1::KVCacheType cache,
                                  Value slot, Value layer) {
  Value base = phase.load(phase.ptrType(),
                          phase.at(phase.caches, phase.mul(slot, 8)), 8);
  auto layers = cast<r1::LayersOp>(
      cast<BlockArgument>(layer).getOwner()->getParentOp());
  Value index = phase.add(phase.scalars.lookup(layer), layers.getFirst());
  return phase.at(base, phase.mul(index, cache.getLayerBytes()));
}
