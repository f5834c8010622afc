//===- Emulator.cpp - Runs GPU kernels on the host ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/emulator/Emulator.h"

#include "codegen/gpu/emulator/Instructions.h"
#include "codegen/gpu/emulator/Retarget.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;
using namespace sputnik::gpu;

Emulator::~Emulator() = default;

/// Takes away what unoptimised IR has too much of; checks stay.
static void optimize(Module &module, TargetMachine &machine) {
  LoopAnalysisManager lam;
  FunctionAnalysisManager fam;
  CGSCCAnalysisManager cgam;
  ModuleAnalysisManager mam;
  PassBuilder passes(&machine);
  passes.registerModuleAnalyses(mam);
  passes.registerCGSCCAnalyses(cgam);
  passes.registerFunctionAnalyses(fam);
  passes.registerLoopAnalyses(lam);
  passes.crossRegisterProxies(lam, fam, cgam, mam);
  passes.buildPerModuleDefaultPipeline(OptimizationLevel::O1).run(module, mam);
}

Expected<std::unique_ptr<Emulator>>
Emulator::create(std::unique_ptr<Module> module,
                 std::unique_ptr<LLVMContext> moduleContext) {
  // In this order: the module must go first.
  std::unique_ptr<LLVMContext> context = std::move(moduleContext);
  std::unique_ptr<Module> kernels = std::move(module);
  InitializeNativeTarget();
  InitializeNativeTargetAsmPrinter();
  auto host = orc::JITTargetMachineBuilder::detectHost();
  if (!host)
    return host.takeError();
  host->getOptions().AllowFPOpFusion = FPOpFusion::Strict;
  auto machine = host->createTargetMachine();
  if (!machine)
    return machine.takeError();

  kernels->setTargetTriple((*machine)->getTargetTriple());
  kernels->setDataLayout((*machine)->createDataLayout());
  auto signatures = retargetKernels(*kernels, [](StringRef name) {
    return emulatedInstructions().count(name) ||
           warpgroupInstructions().count(name);
  });
  if (!signatures)
    return signatures.takeError();
  optimize(*kernels, **machine);

  auto jit =
      orc::LLJITBuilder().setJITTargetMachineBuilder(std::move(*host)).create();
  if (!jit)
    return jit.takeError();
  orc::SymbolMap symbols;
  for (const auto *map : {&emulatedInstructions(), &warpgroupInstructions()})
    for (const auto &entry : *map)
      symbols[(*jit)->mangleAndIntern(
          (kEmulatedPrefix + entry.getKey()).str())] = {
          orc::ExecutorAddr::fromPtr(entry.second),
          JITSymbolFlags::Exported | JITSymbolFlags::Callable};
  for (const auto &[name, address] : libraryFunctions())
    symbols[(*jit)->mangleAndIntern(name)] = {
        orc::ExecutorAddr::fromPtr(address),
        JITSymbolFlags::Exported | JITSymbolFlags::Callable};
  if (Error error = (*jit)->getMainJITDylib().define(
          orc::absoluteSymbols(std::move(symbols))))
    return std::move(error);
  if (Error error = (*jit)->addIRModule(
          orc::ThreadSafeModule(std::move(kernels), std::move(context))))
    return std::move(error);

  std::unique_ptr<Emulator> emulator(new Emulator());
  for (const KernelSignature &signature : *signatures) {
    auto address = (*jit)->lookup(signature.name + kEnterSuffix.str());
    if (!address)
      return address.takeError();
    emulator->entries[signature.name] = {address->toPtr<Grid::Entry>(),
                                         signature.argumentBytes};
  }
  emulator->jit = std::move(*jit);
  return emulator;
}

void Emulator::addBuffer(StringRef name, void *data, uint64_t bytes,
                         bool writable) {
  auto *begin = static_cast<uint8_t *>(data);
  buffers.push_back({name.str(), begin, begin + bytes, writable});
}

void Emulator::removeBuffer(void *data) {
  llvm::erase_if(buffers, [&](const EmulatedBuffer &buffer) {
    return buffer.begin == data;
  });
}

Error Emulator::launch(StringRef kernel, Grid::Shape shape,
                       ArrayRef<void *> arguments) {
  auto entry = entries.find(kernel);
  if (entry == entries.end())
    return createStringError("there is no kernel '%s'", kernel.str().c_str());
  if (arguments.size() != entry->second.argumentBytes.size())
    return createStringError("%s takes %zu arguments, found %zu",
                             kernel.str().c_str(),
                             entry->second.argumentBytes.size(),
                             arguments.size());
  if (shape.threads == 0 || shape.threads > 1024 || shape.threads % 32)
    return createStringError("%s: blocks of %u threads, expected whole warps "
                             "and at most 1024",
                             kernel.str().c_str(), shape.threads);
  Grid grid(shape, entry->second.function, arguments.data(), buffers, seed++);
  if (Error error = grid.run())
    return createStringError("%s: %s", kernel.str().c_str(),
                             toString(std::move(error)).c_str());
  return Error::success();
}
