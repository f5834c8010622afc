//===- Retarget.cpp - Kernels as code of the host -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/emulator/Retarget.h"

#include "codegen/gpu/Kernel.h"

#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/ReplaceConstant.h"

using namespace llvm;
using namespace sputnik::gpu;

/// Gives a function that wraps one PTX instruction a body for the host: a call
/// of the emulator. A number at the end of its name is the last argument. Floats
/// come first and are what it gives back, changed: they go through memory, as
/// an address and their number, which ends the name.
static Error replaceWrapper(Function &wrapper, StringRef name,
                            function_ref<bool(StringRef)> knows) {
  wrapper.deleteBody();
  wrapper.setLinkage(GlobalValue::InternalLinkage);
  Module &module = *wrapper.getParent();
  IRBuilder<> b(BasicBlock::Create(wrapper.getContext(), "", &wrapper));
  if (name == "load.streamed.v4") {
    b.CreateRet(b.CreateAlignedLoad(wrapper.getReturnType(),
                                    wrapper.getArg(0), Align(16)));
    return Error::success();
  }
  if (name == kAwaitPrevious) {
    b.CreateCall(wrapper.getParent()->getOrInsertFunction(
        (kEmulatedPrefix + name).str(), wrapper.getFunctionType()));
    b.CreateRetVoid();
    return Error::success();
  }
  auto takeNumber = [&]() -> std::optional<uint32_t> {
    auto [base, last] = name.rsplit('.');
    uint32_t number = 0;
    if (last.getAsInteger(10, number))
      return std::nullopt;
    name = base;
    return number;
  };
  if (wrapper.getReturnType()->isStructTy())
    takeNumber();
  const std::optional<uint32_t> number = takeNumber();
  const std::string emulated = ("ptx." + name).str();
  if (!knows(emulated))
    return createStringError("the emulator does not know the PTX wrapper '%s'",
                             name.str().c_str());
  SmallVector<Value *> arguments;
  SmallVector<llvm::Argument *> floats;
  for (llvm::Argument &argument : wrapper.args())
    if (argument.getType()->isFloatTy())
      floats.push_back(&argument);
    else
      arguments.push_back(&argument);
  Value *array = nullptr;
  if (!floats.empty()) {
    array = b.CreateAlloca(ArrayType::get(b.getFloatTy(), floats.size()));
    for (auto [i, value] : enumerate(floats))
      b.CreateStore(value, b.CreateConstGEP1_64(b.getFloatTy(), array, i));
    arguments.insert(arguments.begin(), {array, b.getInt32(floats.size())});
  }
  if (number)
    arguments.push_back(b.getInt32(*number));
  SmallVector<Type *> types;
  for (Value *argument : arguments)
    types.push_back(argument->getType());
  b.CreateCall(module.getOrInsertFunction(
                   (kEmulatedPrefix + emulated).str(),
                   FunctionType::get(b.getVoidTy(), types, false)),
               arguments);
  if (!array) {
    b.CreateRetVoid();
    return Error::success();
  }
  Value *result = PoisonValue::get(wrapper.getReturnType());
  for (uint32_t i = 0; i < floats.size(); ++i)
    result = b.CreateInsertValue(
        result,
        b.CreateLoad(b.getFloatTy(),
                     b.CreateConstGEP1_64(b.getFloatTy(), array, i)),
        i);
  b.CreateRet(result);
  return Error::success();
}

/// Gives several registers through memory, whose address is the first argument
/// then: how the host returns structures is not ours to know.
static void returnThroughMemory(Function &function) {
  LLVMContext &context = function.getContext();
  Type *result = function.getReturnType();
  SmallVector<Type *> types = {PointerType::get(context, 0)};
  append_range(types, function.getFunctionType()->params());
  auto *taking = Function::Create(
      FunctionType::get(Type::getVoidTy(context), types, false),
      GlobalValue::ExternalLinkage, "", function.getParent());
  taking->takeName(&function);
  DenseMap<Function *, Value *> places;
  for (User *user : make_early_inc_range(function.users())) {
    auto *call = cast<CallInst>(user);
    Value *&place = places[call->getFunction()];
    if (!place)
      place = new AllocaInst(
          result, 0, "", call->getFunction()->getEntryBlock().begin());
    IRBuilder<> b(call);
    SmallVector<Value *> arguments = {place};
    append_range(arguments, call->args());
    b.CreateCall(taking, arguments);
    call->replaceAllUsesWith(b.CreateLoad(result, place));
    call->eraseFromParent();
  }
  function.eraseFromParent();
}

/// Every use of the shared memory of a block becomes an offset from where the
/// emulator has put it.
static void replaceShared(Module &kernels) {
  GlobalVariable *shared =
      kernels.getGlobalVariable(sputnik::gpu::kSharedSymbol, true);
  if (!shared)
    return;
  convertUsersOfConstantsToInstructions({shared});
  FunctionCallee address =
      kernels.getOrInsertFunction(kEmulatedShared, shared->getType());
  DenseMap<Function *, Value *> bases;
  for (Use &use : make_early_inc_range(shared->uses())) {
    auto *user = cast<Instruction>(use.getUser());
    Value *&base = bases[user->getFunction()];
    if (!base) {
      BasicBlock &entry = user->getFunction()->getEntryBlock();
      IRBuilder<> b(&*entry.getFirstInsertionPt());
      base = b.CreateCall(address);
    }
    use.set(base);
  }
  shared->eraseFromParent();
}

static void checkAccesses(Function &function, FunctionCallee check) {
  const DataLayout &layout = function.getParent()->getDataLayout();
  SmallVector<Instruction *> accesses;
  for (Instruction &instruction : instructions(function))
    if (isa<LoadInst, StoreInst, AtomicRMWInst, AtomicCmpXchgInst>(instruction))
      accesses.push_back(&instruction);
  for (Instruction *access : accesses) {
    auto *rmw = dyn_cast<AtomicRMWInst>(access);
    auto *exchange = dyn_cast<AtomicCmpXchgInst>(access);
    Value *ptr = rmw        ? rmw->getPointerOperand()
                 : exchange ? exchange->getPointerOperand()
                            : getLoadStorePointerOperand(access);
    Align alignment = rmw        ? rmw->getAlign()
                      : exchange ? exchange->getAlign()
                                 : getLoadStoreAlignment(access);
    Type *type = rmw        ? rmw->getType()
                 : exchange ? exchange->getNewValOperand()->getType()
                            : getLoadStoreType(access);
    // A thread's own variables and constants of the module are not buffers.
    if (isa<AllocaInst, GlobalVariable>(getUnderlyingObject(ptr)))
      continue;
    IRBuilder<> b(access);
    Value *flat = b.CreateAddrSpaceCast(ptr, b.getPtrTy());
    b.CreateCall(check, {flat, b.getInt64(layout.getTypeStoreSize(type)),
                         b.getInt64(alignment.value()),
                         b.getInt1(!isa<LoadInst>(access))});
  }
}

/// Defines the function that takes a kernel's arguments out of an array.
static void addEntrance(Function &kernel) {
  Module &module = *kernel.getParent();
  LLVMContext &context = module.getContext();
  auto *type = FunctionType::get(Type::getVoidTy(context),
                                 {PointerType::get(context, 0)}, false);
  auto *enter =
      Function::Create(type, GlobalValue::ExternalLinkage,
                       kernel.getName() + Twine(kEnterSuffix), module);
  IRBuilder<> b(BasicBlock::Create(context, "", enter));
  SmallVector<Value *> arguments;
  for (auto [i, argument] : enumerate(kernel.args())) {
    Value *slot = b.CreateConstGEP1_64(b.getPtrTy(), enter->getArg(0), i);
    Value *address = b.CreateLoad(b.getPtrTy(), slot);
    arguments.push_back(b.CreateLoad(argument.getType(), address));
  }
  b.CreateCall(&kernel, arguments);
  b.CreateRetVoid();
}

Expected<std::vector<KernelSignature>>
sputnik::gpu::retargetKernels(Module &kernels,
                              function_ref<bool(StringRef)> knows) {
  std::vector<KernelSignature> signatures;
  SmallVector<Function *> entries;
  for (Function &function : make_early_inc_range(kernels)) {
    StringRef name = function.getName();
    if (name.consume_front("llvm.")) {
      if (!name.starts_with("nvvm."))
        continue;
      if (!knows(name))
        return createStringError("the emulator does not know llvm.%s",
                                 name.str().c_str());
      // No longer an intrinsic, with whatever LLVM believes of that.
      function.setName((kEmulatedPrefix + name).str());
      function.setAttributes({});
      for (User *user : function.users())
        cast<CallBase>(user)->setAttributes({});
      if (function.getReturnType()->isStructTy())
        returnThroughMemory(function);
    } else if (name.consume_front(sputnik::gpu::kPtxPrefix)) {
      if (Error error = replaceWrapper(function, name, knows))
        return std::move(error);
    } else if (function.getCallingConv() == CallingConv::PTX_Kernel) {
      entries.push_back(&function);
    }
  }
  replaceShared(kernels);
  FunctionCallee check = kernels.getOrInsertFunction(
      kEmulatedCheck, FunctionType::get(
                          Type::getVoidTy(kernels.getContext()),
                          {PointerType::get(kernels.getContext(), 0),
                           Type::getInt64Ty(kernels.getContext()),
                           Type::getInt64Ty(kernels.getContext()),
                           Type::getInt1Ty(kernels.getContext())},
                          false));
  for (Function &function : kernels)
    if (!function.isDeclaration())
      checkAccesses(function, check);
  for (Function *kernel : entries) {
    kernel->setCallingConv(CallingConv::C);
    kernel->setAttributes({});
    addEntrance(*kernel);
    KernelSignature &signature =
        signatures.emplace_back(KernelSignature{kernel->getName().str(), {}});
    for (const auto &argument : kernel->args())
      signature.argumentBytes.push_back(static_cast<unsigned>(
          kernels.getDataLayout().getTypeStoreSize(argument.getType())));
  }
  return signatures;
}
