//===- Kernel.cpp - A GPU kernel while it is emitted ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Kernel.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// All lanes of a warp.
static constexpr int32_t kAllLanes = -1;

/// Types of the arguments that kernels of regions take.
static SmallVector<Type> stepTypes(OpBuilder &builder) {
  SmallVector<Type> types(kNumArguments,
                          LLVM::LLVMPointerType::get(builder.getContext()));
  for (Argument count : {kRows, kNumOutputs, kLayer})
    types[count] = builder.getI32Type();
  return types;
}

Kernel::Kernel(OpBuilder &builder, ModuleOp code, r1::RegionOp region,
               StringRef symbol, r1::PhaseAttr phase, r1::TargetAttr target,
               int64_t activationBytes)
    : Kernel(builder, code, symbol, stepTypes(builder), target) {
  this->region = region;
  this->phase = phase;
  loc = region.getLoc();
  arenaBytes = kCounters * 4 + activationBytes;
  rowCount = widen(argument(kRows));
  outputCount = widen(argument(kNumOutputs));
}

Kernel::Kernel(OpBuilder &builder, ModuleOp code, StringRef symbol,
               TypeRange arguments, r1::TargetAttr target)
    : Emit(builder, code.getLoc()), target(target), code(code) {
  builder.setInsertionPointToEnd(code.getBody());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(builder.getContext()),
      SmallVector<Type>(arguments));
  function = LLVM::LLVMFuncOp::create(builder, loc, symbol, type);
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(),
                    builder.getUnitAttr());
  function->setAttr(NVVM::NVVMDialect::getReqntidAttrName(),
                    builder.getDenseI32ArrayAttr({kThreads}));
  // Else ptxas spills a register to fit one block more.
  function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                    builder.getI32IntegerAttr(1));
  builder.setInsertionPointToStart(function.addEntryBlock(builder));
  auto special = [&](auto op) { return widen(op.getResult()); };
  Type i32Type = builder.getI32Type();
  thread = special(NVVM::ThreadIdXOp::create(builder, loc, i32Type));
  block = special(NVVM::BlockIdXOp::create(builder, loc, i32Type));
  rowTile = special(NVVM::BlockIdYOp::create(builder, loc, i32Type));
  lane = rem(thread, kWarp);
  warp = div(thread, kWarp);
  if (!code.lookupSymbol(kSharedSymbol)) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(code.getBody());
    LLVM::GlobalOp::create(
        builder, loc, LLVM::LLVMArrayType::get(builder.getI8Type(), 0),
        /*isConstant=*/false, LLVM::Linkage::External, kSharedSymbol,
        Attribute(), /*alignment=*/16,
        static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared));
  }
  auto space = LLVM::LLVMPointerType::get(
      builder.getContext(),
      static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared));
  shared = LLVM::AddrSpaceCastOp::create(
      builder, loc, ptrType(),
      LLVM::AddressOfOp::create(builder, loc, space, kSharedSymbol));
}

Value Kernel::argument(unsigned index) { return function.getArgument(index); }

Value Kernel::countOf(Value value) {
  return r1::countsOutputs(value) ? outputCount : rowCount;
}

//===----------------------------------------------------------------------===//
// Where values lie
//===----------------------------------------------------------------------===//

Rows &Kernel::rows(Value value) {
  auto it = buffers.find(value);
  assert(it != buffers.end() && "value has no buffer");
  return it->second;
}

Value Kernel::index(Value tensor, Value row) {
  return widen(load(b.getI32Type(), rowPtr(rows(tensor), row), 4));
}

Value Kernel::weightPtr(Operation *user, FlatSymbolRefAttr name, Value layer) {
  auto derived =
      cast<r1::DerivedOp>(SymbolTable::lookupNearestSymbolFrom(user, name));
  weights.insert(derived);
  r1::PlacementAttr placement = *derived.getPlacement();
  Value offset = i64(placement.getOffset());
  if (layer)
    offset = add(offset,
                 mul(widen(argument(kLayer)), placement.getStride()));
  return at(argument(kWeights), offset);
}

Value Kernel::cacheLayerPtr(r1::KVCacheType cache, Value slot, Value layer) {
  hasCache = true;
  Value base =
      load(ptrType(), at(argument(kCaches), mul(slot, 8)), 8);
  // A pointer that comes from memory could point anywhere; this one is global.
  base = LLVM::AddrSpaceCastOp::create(
      b, loc, ptrType(), inSpace(base, NVVM::NVVMMemorySpace::Global));
  auto layers = cast<r1::LayersOp>(
      cast<BlockArgument>(layer).getOwner()->getParentOp());
  Value cacheLayer = add(widen(argument(kLayer)), layers.getFirst());
  return at(base, mul(cacheLayer, cache.getLayerBytes()));
}

Value Kernel::cacheHeadPtr(r1::KVCacheType cache, Value slot, Value layer,
                           Value head) {
  return at(cacheLayerPtr(cache, slot, layer),
            mul(head, cache.getKeyBytes() + cache.getValueBytes()));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value Kernel::allocateShared(int64_t bytes) {
  int64_t offset = sharedEnd, size = llvm::alignTo(bytes, 16);
  sharedEnd += warpsAlone ? kWarps * size : size;
  sharedBytes = std::max(sharedBytes, sharedEnd);
  Value base = at(shared, offset);
  return warpsAlone ? at(base, mul(warp, size)) : base;
}

Value Kernel::allocateWorkspace(int64_t bytes) {
  int64_t offset = arenaBytes;
  arenaBytes += llvm::alignTo(bytes, 64);
  return at(argument(kArena), offset);
}

Value Kernel::counter(Value index) {
  return at(argument(kArena), mul(index, 4));
}

Value Kernel::constantTable(ArrayRef<double> values) {
  std::string symbol = (function.getSymName() + ".table").str();
  Type f64 = b.getF64Type();
  auto space = static_cast<unsigned>(NVVM::NVVMMemorySpace::Global);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(code.getBody());
    auto type =
        RankedTensorType::get({static_cast<int64_t>(values.size())}, f64);
    LLVM::GlobalOp::create(
        b, loc, LLVM::LLVMArrayType::get(f64, values.size()),
        /*isConstant=*/true, LLVM::Linkage::Internal, symbol,
        DenseElementsAttr::get(type, values), /*alignment=*/8, space);
  }
  Value address = LLVM::AddressOfOp::create(
      b, loc, LLVM::LLVMPointerType::get(b.getContext(), space), symbol);
  return LLVM::AddrSpaceCastOp::create(b, loc, ptrType(), address);
}

//===----------------------------------------------------------------------===//
// Threads together
//===----------------------------------------------------------------------===//

void Kernel::asWarps(function_ref<void()> body) {
  warpsAlone = true;
  body();
  warpsAlone = false;
}

void Kernel::barrier() {
  if (warpsAlone)
    warpBarrier();
  else
    NVVM::Barrier0Op::create(b, loc);
}

void Kernel::warpBarrier() {
  NVVM::SyncWarpOp::create(b, loc, i32(kAllLanes));
}

Value Kernel::shuffleXor(Value value, int64_t mask) {
  return NVVM::ShflOp::create(b, loc, value.getType(), i32(kAllLanes), value,
                              i32(mask), i32(kWarp - 1), NVVM::ShflKind::bfly,
                              UnitAttr());
}

Value Kernel::warpSum(Value value, int64_t from) {
  for (int64_t mask = from; mask < kWarp; mask *= 2)
    value = addf(value, shuffleXor(value, mask));
  return value;
}

Value Kernel::warpMax(Value value, int64_t from) {
  for (int64_t mask = from; mask < kWarp; mask *= 2)
    value = maxf(value, shuffleXor(value, mask));
  return value;
}

Value Kernel::teamSum(Value value) {
  if (warpsAlone)
    return warpSum(value);
  // Only its offset is kept: the address may be out of scope by now.
  if (!reductionOffset) {
    reductionOffset = sharedEnd;
    allocateShared(kWarps * 4);
  }
  Value reduction = at(shared, *reductionOffset);
  value = warpSum(value);
  // Whoever still reads the last sum is waited for.
  barrier();
  store(value, at(reduction, mul(warp, 4)), 4);
  barrier();
  Value sum;
  for (int64_t i = 0; i < kWarps; ++i) {
    Value part = load(f32Type(), at(reduction, i * 4), 4);
    sum = sum ? addf(sum, part) : part;
  }
  return sum;
}

Kernel::Scan Kernel::teamScan(Value value) {
  auto plus = [&](Value a, Value c) {
    return arith::AddIOp::create(b, loc, a, c);
  };
  Value before = i32(0), total = value;
  for (int64_t mask = 1; mask < kWarp; mask *= 2) {
    Value other = shuffleXor(total, mask);
    Value isUpper = equal(rem(div(lane, mask), 2), i64(1));
    before = select(isUpper, plus(before, other), before);
    total = plus(total, other);
  }
  Value totals = allocateShared(kWarps * 4);
  ifThen(equal(lane, i64(0)),
         [&] { store(total, at(totals, mul(warp, 4)), 4); });
  barrier();
  total = i32(0);
  for (int64_t i = 0; i < kWarps; ++i) {
    Value part = load(b.getI32Type(), at(totals, i * 4), 4);
    before = select(less(i64(i), warp), plus(before, part), before);
    total = plus(total, part);
  }
  return {before, total};
}

Value Kernel::arriveLast(Value counter, int64_t count) {
  Value flag = allocateShared(4);
  // Every thread's writes come before the barrier, the barrier before the
  // fence, and the fence before the count. An ordering on the atomic itself
  // would be lost in the NVPTX back end of LLVM 22.
  auto fence = [&](LLVM::AtomicOrdering ordering) {
    LLVM::FenceOp::create(b, loc, ordering, "device");
  };
  barrier();
  ifThen(equal(thread, i64(0)), [&] {
    fence(LLVM::AtomicOrdering::release);
    Value before = LLVM::AtomicRMWOp::create(
        b, loc, LLVM::AtomicBinOp::add, counter, i32(1),
        LLVM::AtomicOrdering::monotonic, "device");
    Value isLast = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                         before, i32(count - 1));
    fence(LLVM::AtomicOrdering::acquire);
    ifThen(isLast, [&] { store(i32(0), counter, 4); });
    store(arith::ExtUIOp::create(b, loc, b.getI32Type(), isLast), flag, 4);
  });
  barrier();
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne,
                               load(b.getI32Type(), flag, 4), i32(0));
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

SmallVector<Value>
Kernel::ifThenElse(Value condition, ValueRange otherwise,
                   function_ref<SmallVector<Value>()> body) {
  auto op = scf::IfOp::create(
      b, loc, condition,
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, loc, body()); },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, loc, otherwise); });
  return SmallVector<Value>(op.getResults());
}

void Kernel::finish() { LLVM::ReturnOp::create(b, loc, ValueRange()); }
