//===- ModelObject.cpp - The object file of a model -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/ModelObject.h"

#include "codegen/cpu/FloatPanels.h"
#include "codegen/cpu/ModelDescriptor.h"
#include "codegen/cpu/Probes.h"
#include "codegen/cpu/Target.h"
#include "dialect/R1.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// The primitive that the prefill phase spends its time in.
static DotPrimitive prefillDot(func::FuncOp prefill, r1::TargetAttr target) {
  auto phase = prefill->getAttrOfType<r1::PhaseAttr>(r1::kPhaseAttr);
  DotPrimitive dot = FloatPanels::chooseDot(target, /*narrow=*/false);
  auto attends = [&](r1::KVCacheType cache) {
    dot = FloatPanels::chooseDot(target, !cache.getElement().isF32());
  };
  prefill.walk([&](r1::AttentionOp op) { attends(op.getCache().getType()); });
  prefill.walk(
      [&](r1::LatentAttentionOp op) { attends(op.getCache().getType()); });
  prefill.walk([&](r1::ProductInterface product) {
    OpOperand *rows = product.getRoundableRows();
    if (!rows)
      return;
    SmallVector<FlatSymbolRefAttr> matrices;
    product.getMatrices(matrices);
    RankedTensorType weight = r1::lookupWeightType(product, matrices.front());
    FailureOr<DotPrimitive> found =
        DotPrimitive::get(r1::getEncoding(weight),
                          getElementTypeOrSelf(rows->get().getType()), target);
    if (failed(found))
      return;
    if (isa<r1::LinearOp>(*product) &&
        found->canUseTiles(target, phase, weight.getDimSize(1)))
      found->useTiles();
    dot = found->unpacks() ? found->getUnpacked() : *found;
  });
  return dot;
}

static LogicalResult lowerToLLVM(ModuleOp code, r1::TargetAttr target) {
  PassManager pm(code.getContext());
  // Where no instruction rounds to bf16, LLVM would call a function of the
  // compiler's own library.
  if (target.getBf16Dot() == r1::DotKind::FMA) {
    arith::ArithExpandOpsPassOptions expand;
    expand.includeBf16 = true;
    pm.addPass(arith::createArithExpandOpsPass(expand));
  }
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createLoopInvariantCodeMotionPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(code);
}

static LogicalResult emitMachineCode(llvm::Module &llvmModule,
                                     llvm::TargetMachine &machine,
                                     int optLevel, CodeForm form,
                                     ModuleOp module,
                                     llvm::raw_pwrite_stream &os) {
  llvm::LoopAnalysisManager lam;
  llvm::FunctionAnalysisManager fam;
  llvm::CGSCCAnalysisManager cgam;
  llvm::ModuleAnalysisManager mam;
  llvm::PassBuilder passes(&machine);
  passes.registerModuleAnalyses(mam);
  passes.registerCGSCCAnalyses(cgam);
  passes.registerFunctionAnalyses(fam);
  passes.registerLoopAnalyses(lam);
  passes.crossRegisterProxies(lam, fam, cgam, mam);
  passes
      .buildPerModuleDefaultPipeline(optLevel == 0
                                         ? llvm::OptimizationLevel::O1
                                         : llvm::OptimizationLevel::O2)
      .run(llvmModule, mam);
  if (form == CodeForm::LLVM) {
    llvmModule.print(os, nullptr);
    return success();
  }
  llvm::legacy::PassManager codegen;
  auto fileType = form == CodeForm::Assembly
                      ? llvm::CodeGenFileType::AssemblyFile
                      : llvm::CodeGenFileType::ObjectFile;
  if (machine.addPassesToEmitFile(codegen, os, nullptr, fileType))
    return module.emitError("the LLVM back end cannot write this file");
  codegen.run(llvmModule);
  return success();
}

/// Phases that have kernels in place of code.
static SmallVector<EmittedPhase> phasesOfKernels(ModuleOp module) {
  SmallVector<EmittedPhase> phases;
  for (StringRef name : {r1::kDecode, r1::kVerify, r1::kPrefill,
                         r1::kDraftVerify, r1::kDraftPrefill})
    if (auto function = module.lookupSymbol<func::FuncOp>(name)) {
      EmittedPhase &phase = phases.emplace_back();
      phase.name = name;
      phase.maxRows =
          function->getAttrOfType<r1::PhaseAttr>(r1::kPhaseAttr).getMaxRows();
    }
  return phases;
}

LogicalResult sputnik::cpu::writeModelCode(ModuleOp module,
                                           const ModelDescription &description,
                                           int optLevel, CodeForm form,
                                           llvm::raw_pwrite_stream &os) {
  MLIRContext *context = module.getContext();
  context->loadDialect<arith::ArithDialect, func::FuncDialect,
                       LLVM::LLVMDialect, math::MathDialect, scf::SCFDialect,
                       vector::VectorDialect>();
  registerBuiltinDialectTranslation(*context);
  registerLLVMDialectTranslation(*context);

  auto target = module->getAttrOfType<r1::TargetAttr>(r1::kTargetAttr);
  auto imageBytes = module->getAttrOfType<IntegerAttr>(r1::kImageBytesAttr);
  auto decode = module.lookupSymbol<func::FuncOp>(r1::kDecode);
  auto prefill = module.lookupSymbol<func::FuncOp>(r1::kPrefill);
  if (!target || !imageBytes || !decode || !prefill)
    return module.emitError("has no target, phases or image: run r1-pipeline");

  OwningOpRef<ModuleOp> code = ModuleOp::create(module.getLoc());
  FailureOr<SmallVector<EmittedPhase>> phases =
      description.kernels.empty()
          ? emitPhases(module, *code, optLevel, description.profile)
          : phasesOfKernels(module);
  if (failed(phases))
    return failure();
  if (!description.kernels.empty())
    target = description.host;
  emitProbes(*code, target, prefillDot(prefill, target));
  if (failed(lowerToLLVM(*code, target)))
    return failure();

  emitModelDescriptor(*code, description, *phases, decode, imageBytes.getInt());

  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> llvmModule =
      translateModuleToLLVMIR(*code, llvmContext, "sputnik_model");
  if (!llvmModule)
    return module.emitError("cannot be translated to LLVM IR");
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      createTargetMachine(target, optLevel, description.positionIndependent);
  if (!machine)
    return module.emitError(llvm::toString(machine.takeError()));
  llvmModule->setTargetTriple((*machine)->getTargetTriple());
  llvmModule->setDataLayout((*machine)->createDataLayout());
  for (llvm::Function &function : *llvmModule) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.getCpu());
    function.addFnAttr("target-features", target.getFeatures());
  }
  return emitMachineCode(*llvmModule, **machine, optLevel, form, module, os);
}
