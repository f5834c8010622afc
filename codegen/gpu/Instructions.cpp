//===- Instructions.cpp - The instructions kernels are made of ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Kernel.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

Value Kernel::callPtx(StringRef name, Type result, ValueRange operands,
                      StringRef assembly, StringRef constraints,
                      PtxEffect effect) {
  std::string symbol = (kPtxPrefix + name).str();
  if (!code.lookupSymbol(symbol)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(code.getBody());
    auto type = LLVM::LLVMFunctionType::get(
        result ? result : LLVM::LLVMVoidType::get(b.getContext()),
        SmallVector<Type>(operands.getTypes()));
    // Not internal: passes would change what it takes.
    auto wrapper =
        LLVM::LLVMFuncOp::create(b, loc, symbol, type, LLVM::Linkage::Linkonce);
    // Stays a call until PTX is made: the emulator runs optimised kernels too.
    wrapper.setNoInline(true);
    wrapper.setNoUnwind(true);
    wrapper.setWillReturn(true);
    if (effect == PtxEffect::LoadsOperand) {
      auto none = LLVM::ModRefInfo::NoModRef;
      wrapper.setMemoryEffectsAttr(LLVM::MemoryEffectsAttr::get(
          b.getContext(),
          {none, LLVM::ModRefInfo::Ref, none, none, none, none}));
    } else {
      wrapper.setConvergent(true);
      // Nor do two become one, before the branch that they stand behind: ptxas
      // wants products right behind their fence.
      wrapper.setPassthroughAttr(b.getStrArrayAttr({"nomerge"}));
    }
    Block *entry = wrapper.addEntryBlock(b);
    b.setInsertionPointToStart(entry);
    // Registers come one by one.
    Type registers = result;
    auto vector = dyn_cast_or_null<VectorType>(result);
    if (vector)
      registers = LLVM::LLVMStructType::getLiteral(
          b.getContext(),
          SmallVector<Type>(vector.getNumElements(), vector.getElementType()));
    auto instruction = LLVM::InlineAsmOp::create(
        b, loc, registers ? TypeRange(registers) : TypeRange(),
        entry->getArguments(), assembly, constraints,
        // Loads stay in the order in which they are written: all of a step
        // before the first use.
        /*has_side_effects=*/true, /*is_align_stack=*/false,
        LLVM::tailcallkind::TailCallKind::None,
        LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT),
        ArrayAttr());
    if (vector) {
      Value packed = LLVM::PoisonOp::create(b, loc, result);
      for (int64_t i = 0; i < vector.getNumElements(); ++i)
        packed = LLVM::InsertElementOp::create(
            b, loc, packed,
            LLVM::ExtractValueOp::create(b, loc, instruction.getResult(0), i),
            LLVM::ConstantOp::create(b, loc, b.getI32Type(), i));
      LLVM::ReturnOp::create(b, loc, packed);
    } else {
      LLVM::ReturnOp::create(b, loc, instruction.getResults());
    }
  }
  auto call = LLVM::CallOp::create(
      b, loc, result ? TypeRange(result) : TypeRange(), symbol, operands);
  return result ? call.getResult() : Value();
}

void Kernel::callPtx(StringRef name, ValueRange operands, StringRef assembly,
                     StringRef constraints) {
  callPtx(name, Type(), operands, assembly, constraints, PtxEffect::Any);
}

void Kernel::awaitPrevious() {
  if (!startsEarly())
    return;
  NVVM::GriddepcontrolOp::create(b, loc,
                                 NVVM::GridDepActionKind::launch_dependents);
  // LLVM 22 believes of its intrinsic that it has nothing to do with memory, and
  // would move loads over it.
  callPtx(kAwaitPrevious, {}, "griddepcontrol.wait;", "~{memory}");
}

void Kernel::prefetch(Value ptr, Value bytes) {
  Value size = arith::TruncIOp::create(b, loc, b.getI32Type(), bytes);
  NVVM::CpAsyncBulkPrefetchOp::create(
      b, loc, inSpace(ptr, NVVM::NVVMMemorySpace::Global), size, Value());
}

Value Kernel::loadStreamed(Value ptr) {
  return callPtx("load.streamed.v4", vecType(4, b.getI32Type()), {ptr},
                 "ld.global.nc.L1::no_allocate.L2::128B.v4.b32 "
                 "{$0, $1, $2, $3}, [$4];",
                 "=r,=r,=r,=r,l", PtxEffect::LoadsOperand);
}

Value Kernel::callIntrinsic(StringRef name, Type result, ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, loc, result, b.getStringAttr(name),
                                       operands)
      .getResult(0);
}

Value Kernel::exp2(Value x) {
  return callIntrinsic("llvm.nvvm.ex2.approx.ftz.f32", f32Type(), {x});
}

Value Kernel::dot4(Value x, Value y, Value sum) {
  return callIntrinsic("llvm.nvvm.idp4a.s.s", b.getI32Type(), {x, y, sum});
}

Value Kernel::permuteBytes(Value low, Value high, Value selector) {
  return NVVM::PermuteOp::create(b, loc, b.getI32Type(), low, high, selector,
                                 NVVM::PermuteMode::DEFAULT);
}

Value Kernel::and32(Value a, int32_t c) {
  return arith::AndIOp::create(b, loc, a, i32(c));
}
Value Kernel::or32(Value a, int32_t c) {
  return arith::OrIOp::create(b, loc, a, i32(c));
}
Value Kernel::shiftRight32(Value a, int32_t bits) {
  return arith::ShRUIOp::create(b, loc, a, i32(bits));
}
Value Kernel::select(Value condition, Value a, Value c) {
  return arith::SelectOp::create(b, loc, condition, a, c);
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

Value Kernel::inSpace(Value ptr, NVVM::NVVMMemorySpace space) {
  return LLVM::AddrSpaceCastOp::create(
      b, loc,
      LLVM::LLVMPointerType::get(b.getContext(), static_cast<unsigned>(space)),
      ptr);
}

void Kernel::copyAsync(Value to, Value from, Value bytes) {
  Value size = arith::TruncIOp::create(
      b, loc, b.getI32Type(), arith::MaxSIOp::create(b, loc, bytes, i64(0)));
  NVVM::CpAsyncOp::create(b, loc, inShared(to),
                          inSpace(from, NVVM::NVVMMemorySpace::Global), 16,
                          NVVM::LoadCacheModifierKind::CG, size);
}

void Kernel::copyWordAsync(Value to, Value from) {
  NVVM::CpAsyncOp::create(b, loc, inShared(to),
                          inSpace(from, NVVM::NVVMMemorySpace::Global), 4,
                          NVVM::LoadCacheModifierKind::CA, Value());
}

void Kernel::commitCopies() { NVVM::CpAsyncCommitGroupOp::create(b, loc); }

void Kernel::waitForCopies(int64_t pending) {
  NVVM::CpAsyncWaitGroupOp::create(b, loc, pending);
}

//===----------------------------------------------------------------------===//
// Tensor cores
//===----------------------------------------------------------------------===//

static SmallVector<Value> unpack(Kernel &k, Value registers) {
  SmallVector<Value> values;
  for (int64_t i = 0; i < 4; ++i)
    values.push_back(LLVM::ExtractValueOp::create(k.b, k.loc, registers, i));
  return values;
}

static Type fourRegisters(Type type) {
  return LLVM::LLVMStructType::getLiteral(type.getContext(),
                                          SmallVector<Type>(4, type));
}

SmallVector<Value> Kernel::loadMatrices(Value row, bool transposed) {
  StringRef name = transposed
                       ? "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3"
                       : "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3";
  return unpack(*this,
                callIntrinsic(name, fourRegisters(b.getI32Type()),
                              inShared(row)));
}

Value Kernel::packPair(Value low, Value high) {
  Value pair = LLVM::PoisonOp::create(b, loc, f32Vec(2));
  pair = LLVM::InsertElementOp::create(b, loc, pair, low, i32(0));
  pair = LLVM::InsertElementOp::create(b, loc, pair, high, i32(1));
  Value narrow = arith::TruncFOp::create(b, loc, vecType(2, b.getBF16Type()),
                                         pair);
  return LLVM::BitcastOp::create(b, loc, b.getI32Type(), narrow);
}

SmallVector<Value> Kernel::multiplyMatrices(ValueRange a, ValueRange c,
                                            ValueRange sums) {
  SmallVector<Value> operands(a);
  llvm::append_range(operands, c);
  llvm::append_range(operands, sums);
  Type type = sums[0].getType();
  StringRef name = type.isF32() ? "llvm.nvvm.mma.m16n8k16.row.col.bf16"
                                : "llvm.nvvm.mma.m16n8k32.row.col.s8";
  return unpack(*this, callIntrinsic(name, fourRegisters(type), operands));
}
