//===- ModelObject.cpp - The object file of a model -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/ModelObject.h"

#include "codegen/cpu/LowerPhases.h"
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
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr llvm::StringLiteral kRegions = "sputnik_regions";
static constexpr llvm::StringLiteral kKernelImages = "sputnik_kernel_images";
static constexpr llvm::StringLiteral kAccelerator = "sputnik_cuda";

namespace {

/// Emits abi::Model and its data as LLVM dialect globals.
class DescriptorEmitter {
public:
  explicit DescriptorEmitter(ModuleOp code)
      : builder(OpBuilder::atBlockEnd(code.getBody())), loc(code.getLoc()),
        ptr(LLVM::LLVMPointerType::get(code.getContext())) {}

  void emit(const ModelDescription &description,
            ArrayRef<EmittedPhase> phases, r1::KVCacheType cache,
            int64_t vocabulary, uint64_t stateRowBytes,
            uint64_t weightBytes, const Traffic &traffic);

private:
  Value integer(uint64_t value, unsigned bits) {
    return LLVM::ConstantOp::create(
        builder, loc, builder.getIntegerType(bits),
        builder.getIntegerAttr(builder.getIntegerType(bits),
                               APInt(bits, value, false, true)));
  }
  Value address(StringRef symbol) {
    return LLVM::AddressOfOp::create(builder, loc, ptr, symbol);
  }
  void emitBytes(StringRef symbol, StringRef bytes) {
    Type type = LLVM::LLVMArrayType::get(builder.getI8Type(), bytes.size());
    LLVM::GlobalOp::create(builder, loc, type, /*isConstant=*/true,
                           LLVM::Linkage::Internal, symbol,
                           builder.getStringAttr(bytes), /*alignment=*/64);
  }
  /// A global that `init` gives the value of.
  void emitConstant(StringRef symbol, LLVM::Linkage linkage, Type type,
                    llvm::function_ref<Value()> init);
  /// The array of abi::Region at `sputnik_regions`.
  void emitRegions(ArrayRef<RegionWork> regions);
  /// The array of abi::KernelImage at `sputnik_kernel_images`.
  void emitKernelImages(ArrayRef<KernelImage> images);
  /// An array of structures of these types, whose fields `rows` makes.
  void emitTable(StringRef symbol, ArrayRef<Type> types, size_t count,
                 llvm::function_ref<SmallVector<Value>(size_t)> row);
  /// A string that ends with a zero.
  void emitText(StringRef symbol, StringRef text) {
    emitBytes(symbol, (text + Twine('\0')).str());
  }

  OpBuilder builder;
  Location loc;
  Type ptr;
};

} // namespace

void DescriptorEmitter::emitConstant(StringRef symbol, LLVM::Linkage linkage,
                                     Type type,
                                     llvm::function_ref<Value()> init) {
  OpBuilder::InsertionGuard guard(builder);
  auto global = LLVM::GlobalOp::create(builder, loc, type, /*isConstant=*/true,
                                       linkage, symbol, Attribute(),
                                       /*alignment=*/8);
  builder.createBlock(&global.getInitializerRegion());
  LLVM::ReturnOp::create(builder, loc, init());
}

void DescriptorEmitter::emitTable(
    StringRef symbol, ArrayRef<Type> types, size_t count,
    llvm::function_ref<SmallVector<Value>(size_t)> row) {
  Type entry = LLVM::LLVMStructType::getLiteral(builder.getContext(), types);
  Type type = LLVM::LLVMArrayType::get(entry, count);
  emitConstant(symbol, LLVM::Linkage::Internal, type, [&] {
    Value array = LLVM::UndefOp::create(builder, loc, type);
    for (size_t i = 0; i < count; ++i)
      for (auto [j, field] : llvm::enumerate(row(i)))
        array = LLVM::InsertValueOp::create(
            builder, loc, array, field,
            ArrayRef<int64_t>{static_cast<int64_t>(i),
                              static_cast<int64_t>(j)});
    return array;
  });
}

void DescriptorEmitter::emitKernelImages(ArrayRef<KernelImage> images) {
  auto name = [](StringRef what, size_t i, size_t j = 0, size_t k = 0) {
    return llvm::formatv("sputnik_kernel_{0}{1}_{2}_{3}", what, i, j, k).str();
  };
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  uint32_t firstRegion = 0;
  for (auto [i, image] : llvm::enumerate(images)) {
    emitText(name("chip", i), image.chip);
    emitText(name("ptx", i), image.ptx);
    for (auto [j, launches] : llvm::enumerate(image.phases)) {
      // A kernel is launched once for each layer; its name is stored once.
      llvm::StringMap<std::string> symbols;
      for (auto [k, launch] : llvm::enumerate(launches))
        if (auto [it, added] = symbols.try_emplace(launch.kernel); added) {
          it->second = name("name", i, j, k);
          emitText(it->second, launch.kernel);
        }
      emitTable(name("launches", i, j),
                {ptr, i32, i32, i32, i32, i32, i32, i32}, launches.size(),
                [&, &launches = launches](size_t k) {
                  const KernelLaunch &launch = launches[k];
                  SmallVector<Value> fields = {
                      address(symbols[launch.kernel])};
                  for (uint32_t value :
                       {launch.blocks, launch.threads, launch.rowTile,
                        uint32_t(launch.perOutput), launch.sharedBytes,
                        launch.layer, firstRegion + launch.region})
                    fields.push_back(integer(value, 32));
                  return fields;
                });
    }
    firstRegion += image.regions.size();
  }
  emitTable(kKernelImages,
            {ptr, i32, i32, i64, ptr, i64, i64, ptr, i64, ptr, i64, ptr, i64, ptr,
             i64},
            images.size(), [&](size_t i) {
              const KernelImage &image = images[i];
              SmallVector<Value> fields = {
                  address(name("chip", i)), integer(image.capability, 32),
                  integer(image.onlyThis, 32),
                  integer(image.dependent, 64), address(name("ptx", i)),
                  integer(image.arenaBytes, 64), integer(image.dotMacs, 64)};
              for (auto [j, launches] : llvm::enumerate(image.phases)) {
                fields.push_back(address(name("launches", i, j)));
                fields.push_back(integer(launches.size(), 64));
              }
              return fields;
            });
}

void DescriptorEmitter::emitRegions(ArrayRef<RegionWork> regions) {
  auto symbol = [](StringRef what, size_t i) {
    return ("sputnik_" + what + Twine(i)).str();
  };
  for (auto [i, region] : llvm::enumerate(regions)) {
    emitText(symbol("region_name", i), region.name);
    emitText(symbol("phase_name", i), region.phase);
  }
  Type i64 = builder.getI64Type();
  emitTable(kRegions, {ptr, ptr, i64, i64, i64, i64, i64}, regions.size(),
            [&](size_t i) {
              const RegionWork &region = regions[i];
              SmallVector<Value> fields = {address(symbol("region_name", i)),
                                           address(symbol("phase_name", i))};
              for (uint64_t count :
                   {region.weightBytes, region.macs, region.positionBytes,
                    region.positionMacs, uint64_t(region.perOutput)})
                fields.push_back(integer(count, 64));
              return fields;
            });
}

/// What code notes the times of: regions, or the kernels of all images.
static SmallVector<RegionWork> listRegions(const ModelDescription &description,
                                           ArrayRef<EmittedPhase> phases) {
  SmallVector<RegionWork> regions;
  for (const KernelImage &image : description.kernels)
    llvm::append_range(regions, image.regions);
  if (description.kernels.empty() && description.profile)
    for (const EmittedPhase &phase : phases)
      for (r1::RegionOp region : phase.regions)
        regions.push_back(countWork(region, phase.name));
  return regions;
}

void DescriptorEmitter::emit(const ModelDescription &description,
                             ArrayRef<EmittedPhase> phases,
                             r1::KVCacheType cache, int64_t vocabulary,
                             uint64_t stateRowBytes, uint64_t weightBytes,
                             const Traffic &traffic) {
  emitBytes("sputnik_tokenizer", description.tokenizer);
  emitBytes("sputnik_info", description.info);
  StringRef id(reinterpret_cast<const char *>(description.imageId.data()),
               description.imageId.size());

  // In the order of abi::Model; the compiler of the runtime lays both out.
  SmallVector<std::function<Value()>> fields;
  SmallVector<Type> types;
  auto number = [&](uint64_t value, unsigned bits = 64) {
    types.push_back(builder.getIntegerType(bits));
    fields.push_back([=, this] { return integer(value, bits); });
  };
  auto symbol = [&](StringRef name) {
    types.push_back(ptr);
    fields.push_back([=, this] { return address(name); });
  };
  auto null = [&] {
    types.push_back(ptr);
    fields.push_back([&] { return LLVM::ZeroOp::create(builder, loc, ptr); });
  };
  auto phase = [&](StringRef name) {
    const EmittedPhase *found = llvm::find_if(phases, [&](const auto &phase) {
      return phase.name == name;
    });
    if (found == phases.end()) {
      null();
      for (int field = 0; field < 3; ++field)
        number(0);
      return;
    }
    if (found->symbol.empty())
      null();
    else
      symbol(found->symbol);
    number(found->maxRows);
    number(found->arenaBytes);
    number(found->scratchBytes);
  };
  number(abi::kVersion, 32);
  number(description.weightSource, 32);
  types.push_back(LLVM::LLVMArrayType::get(builder.getI8Type(), id.size()));
  fields.push_back([&] {
    return LLVM::ConstantOp::create(builder, loc, types[2],
                                    builder.getStringAttr(id));
  });
  phase(r1::kDecode);
  phase(r1::kVerify);
  phase(r1::kPrefill);
  number(vocabulary);
  number(cache.getPositions());
  number(cache.getSlotBytes());
  number(cache.getTokenBytes());
  number(weightBytes);
  number(traffic.bytes);
  number(traffic.macs);
  number(traffic.headMacs);
  symbol(kFillRandom);
  number(description.seed);
  symbol(kProbeRead);
  symbol(kProbeDot);
  symbol("sputnik_tokenizer");
  number(description.tokenizer.size());
  symbol("sputnik_info");
  number(description.info.size());
  SmallVector<RegionWork> regions = listRegions(description, phases);
  if (regions.empty()) {
    null();
  } else {
    emitRegions(regions);
    symbol(kRegions);
  }
  number(regions.size());
  phase(r1::kDraftVerify);
  phase(r1::kDraftPrefill);
  number(stateRowBytes);
  if (description.kernels.empty()) {
    null();
    null();
  } else {
    emitKernelImages(description.kernels);
    LLVM::GlobalOp::create(builder, loc, builder.getI8Type(),
                           /*isConstant=*/true, LLVM::Linkage::External,
                           kAccelerator, Attribute());
    symbol(kAccelerator);
    symbol(kKernelImages);
  }
  number(description.kernels.size());
  number(description.observedBytes);

  Type type = LLVM::LLVMStructType::getLiteral(builder.getContext(), types);
  emitConstant("sputnik_model", LLVM::Linkage::External, type, [&] {
    Value model = LLVM::UndefOp::create(builder, loc, type);
    for (auto [i, field] : llvm::enumerate(fields))
      model = LLVM::InsertValueOp::create(builder, loc, model, field(),
                                          static_cast<int64_t>(i));
    return model;
  });
}

/// The primitive that the prefill phase spends its time in.
static DotPrimitive prefillDot(func::FuncOp prefill, r1::TargetAttr target) {
  MLIRContext *context = prefill.getContext();
  DotPrimitive dot = *DotPrimitive::get(
      r1::EncodingAttr::get(context, r1::Scheme::F32, 16, 1),
      Float32Type::get(context), target);
  prefill.walk([&](r1::LinearOp linear) {
    FailureOr<DotPrimitive> found = DotPrimitive::get(
        r1::getEncoding(
            r1::lookupWeightType(linear, linear.getWeightAttr())),
        cast<RankedTensorType>(linear.getInput().getType()).getElementType(),
        target);
    if (succeeded(found))
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
  for (StringRef name : {r1::kDecode, r1::kVerify, r1::kPrefill})
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

  auto cache = cast<r1::KVCacheType>(decode.getArgumentTypes()[4]);
  // A region by itself may give no logits.
  int64_t vocabulary =
      decode.getNumResults()
          ? cast<RankedTensorType>(decode.getResultTypes()[0]).getDimSize(1)
          : 0;
  uint64_t stateRowBytes =
      decode.getNumResults() > 1
          ? llvm::alignTo(r1::getRowBytes(cast<RankedTensorType>(
                              decode.getResultTypes()[1])),
                          64)
          : 0;
  DescriptorEmitter(*code).emit(description, *phases, cache, vocabulary,
                                stateRowBytes, imageBytes.getInt(),
                                countTraffic(decode));

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
