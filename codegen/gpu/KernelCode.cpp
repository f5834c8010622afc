//===- KernelCode.cpp - The kernels of a model as code --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/KernelCode.h"

#include "codegen/gpu/Chip.h"
#include "codegen/gpu/Kernel.h"
#include "codegen/gpu/Passes.h"
#include "codegen/gpu/Probes.h"
#include "codegen/gpu/SampleKernels.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/IPO/AlwaysInliner.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

static LogicalResult lowerToLLVM(ModuleOp code) {
  PassManager pm(code.getContext());
  pm.addPass(createVerifyDependentLaunchPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createLoopInvariantCodeMotionPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(code);
}

static void loadDialects(MLIRContext &context) {
  context.loadDialect<arith::ArithDialect, cf::ControlFlowDialect,
                      LLVM::LLVMDialect, NVVM::NVVMDialect, math::MathDialect,
                      scf::SCFDialect, vector::VectorDialect>();
  registerBuiltinDialectTranslation(context);
  registerLLVMDialectTranslation(context);
  registerNVVMDialectTranslation(context);
}

/// Makes LLVM IR of kernels.
static FailureOr<std::unique_ptr<llvm::Module>>
translate(ModuleOp code, r1::TargetAttr target,
          llvm::LLVMContext &llvmContext) {
  if (failed(lowerToLLVM(code)))
    return failure();
  std::unique_ptr<llvm::Module> module =
      translateModuleToLLVMIR(code, llvmContext, "sputnik_kernels");
  if (!module)
    return code.emitError("kernels cannot be translated to LLVM IR");
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      createTargetMachine(target);
  if (!machine)
    return code.emitError(llvm::toString(machine.takeError()));
  module->setTargetTriple((*machine)->getTargetTriple());
  module->setDataLayout((*machine)->createDataLayout());
  return std::move(module);
}

FailureOr<KernelCode> sputnik::gpu::makeKernelCode(ModuleOp module,
                                          r1::TargetAttr target,
                                          llvm::LLVMContext &llvmContext) {
  loadDialects(*module.getContext());
  if (!target || !target.isGPU())
    return module.emitError("has no GPU as its target");

  OwningOpRef<ModuleOp> code = ModuleOp::create(module.getLoc());
  FailureOr<std::vector<PhasePlan>> plans =
      emitKernels(module, *code, target);
  if (failed(plans))
    return failure();
  KernelCode result;
  result.plans = std::move(*plans);
  for (const PhasePlan &plan : result.plans)
    result.arenaBytes = std::max(result.arenaBytes, plan.arenaBytes);
  for (const PhasePlan &plan : result.plans) {
    if (plan.phase.getKind() != r1::PhaseKind::Decode)
      continue;
    if (plan.vocabulary > abi::kMaxLogits)
      return module.emitError("no kernel samples from ")
             << plan.vocabulary << " tokens, at most from " << abi::kMaxLogits;
    result.sample = emitSampling(*code, plan.vocabulary, plan.activationBytes,
                                 target, result.arenaBytes);
  }
  emitProbes(*code, target);
  FailureOr<std::unique_ptr<llvm::Module>> translated =
      translate(*code, target, llvmContext);
  if (failed(translated))
    return failure();
  result.module = std::move(*translated);
  return result;
}

FailureOr<KernelCode>
sputnik::gpu::makeSamplingCode(int64_t vocabulary, r1::TargetAttr target,
                               llvm::LLVMContext &llvmContext) {
  MLIRContext *context = target.getContext();
  loadDialects(*context);
  OwningOpRef<ModuleOp> code =
      ModuleOp::create(UnknownLoc::get(context));
  KernelCode result;
  result.sample = emitSampling(*code, vocabulary, /*activationBytes=*/0,
                               target, result.arenaBytes);
  FailureOr<std::unique_ptr<llvm::Module>> translated =
      translate(*code, target, llvmContext);
  if (failed(translated))
    return failure();
  result.module = std::move(*translated);
  return result;
}

LogicalResult sputnik::gpu::optimizeKernels(llvm::Module &kernels,
                                   r1::TargetAttr target, ModuleOp module) {
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      createTargetMachine(target);
  if (!machine)
    return module.emitError(llvm::toString(machine.takeError()));
  llvm::LoopAnalysisManager lam;
  llvm::FunctionAnalysisManager fam;
  llvm::CGSCCAnalysisManager cgam;
  llvm::ModuleAnalysisManager mam;
  llvm::PassBuilder passes(machine->get());
  passes.registerModuleAnalyses(mam);
  passes.registerCGSCCAnalyses(cgam);
  passes.registerFunctionAnalyses(fam);
  passes.registerLoopAnalyses(lam);
  passes.crossRegisterProxies(lam, fam, cgam, mam);
  passes.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3)
      .run(kernels, mam);
  return success();
}

FailureOr<std::string> sputnik::gpu::makePtx(llvm::Module &kernels,
                                    r1::TargetAttr target, ModuleOp module) {
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      createTargetMachine(target);
  if (!machine)
    return module.emitError(llvm::toString(machine.takeError()));
  SmallString<0> ptx;
  llvm::raw_svector_ostream os(ptx);
  for (llvm::Function &function : kernels)
    if (function.getName().starts_with(kPtxPrefix)) {
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
      function.removeFnAttr(llvm::Attribute::NoInline);
      function.addFnAttr(llvm::Attribute::AlwaysInline);
    }
  llvm::legacy::PassManager codegen;
  codegen.add(llvm::createAlwaysInlinerLegacyPass());
  if ((*machine)->addPassesToEmitFile(codegen, os, nullptr,
                                      llvm::CodeGenFileType::AssemblyFile))
    return module.emitError("the NVPTX back end cannot write PTX");
  codegen.run(kernels);
  return ptx.str().str();
}

/// The image for one chip, with PTX alone.
static FailureOr<cpu::KernelImage> makeKernelImage(ModuleOp module,
                                                   r1::TargetAttr target) {
  llvm::LLVMContext llvmContext;
  FailureOr<KernelCode> code = makeKernelCode(module, target, llvmContext);
  if (failed(code) ||
      failed(optimizeKernels(*code->module, target, module)))
    return failure();
  FailureOr<std::string> ptx = makePtx(*code->module, target, module);
  if (failed(ptx))
    return failure();
  cpu::KernelImage image;
  image.chip = target.getCpu();
  image.dotMacs = kDotMacs;
  image.ptx = std::move(*ptx);
  auto [capability, onlyThis] = getCapability(target.getCpu());
  image.capability = capability;
  image.onlyThis = onlyThis;
  image.dependent = hasDependentLaunch(target);
  image.arenaBytes = static_cast<uint64_t>(code->arenaBytes);
  // The first of the activations, which follow the counters.
  image.stateOffset = kCounters * sizeof(uint32_t);
  auto add = [&](ArrayRef<Launch> from,
                 std::vector<cpu::KernelLaunch> &launches) {
    const auto firstRegion = static_cast<uint32_t>(image.regions.size());
    for (const Launch &launch : from)
      launches.push_back({launch.kernel, static_cast<uint32_t>(launch.blocks),
                          static_cast<uint32_t>(launch.threads),
                          static_cast<uint32_t>(launch.rowTile),
                          launch.perOutput,
                          static_cast<uint32_t>(launch.sharedBytes),
                          static_cast<uint32_t>(launch.layer),
                          firstRegion + static_cast<uint32_t>(launch.number)});
  };
  // In the order of abi::KernelImage.
  constexpr StringLiteral phases[] = {r1::kDecode, r1::kVerify, r1::kPrefill,
                                      r1::kDraftVerify, r1::kDraftPrefill};
  for (const PhasePlan &plan : code->plans) {
    const auto number = llvm::find(phases, plan.name) - std::begin(phases);
    if (number == std::size(phases))
      return module.emitError("no step runs the phase @") << plan.name;
    add(plan.launches, image.phases[number]);
    llvm::append_range(image.regions, plan.kernels);
  }
  add(code->sample, image.phases.back());
  return image;
}

FailureOr<std::vector<cpu::KernelImage>> sputnik::gpu::makeKernelImages(
    ArrayRef<ModuleOp> modules, const std::optional<Assembler> &assembler) {
  std::vector<cpu::KernelImage> images(modules.size());
  std::vector<std::string> problems(modules.size());
  // The assembler makes code of one chip's PTX while that of the next is made.
  llvm::DefaultThreadPool pool;
  for (auto [module, image, problem] :
       llvm::zip_equal(modules, images, problems)) {
    FailureOr<cpu::KernelImage> made = makeKernelImage(
        module, ModuleOp(module)->getAttrOfType<r1::TargetAttr>(r1::kTargetAttr));
    if (failed(made))
      return failure();
    image = std::move(*made);
    if (assembler)
      pool.async([&assembler, &image = image, &problem = problem] {
        llvm::Expected<std::string> cubin =
            assembler->assemble(image.ptx, image.chip);
        if (cubin)
          image.cubin = std::move(*cubin);
        else
          problem = llvm::toString(cubin.takeError());
      });
  }
  pool.wait();
  for (auto [module, problem] : llvm::zip_equal(modules, problems))
    if (!problem.empty())
      return ModuleOp(module).emitError(problem);
  return images;
}
