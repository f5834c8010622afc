//===- ModelDescriptor.cpp - What the runtime reads of a model ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/ModelDescriptor.h"

#include "codegen/cpu/Probes.h"
#include "codegen/cpu/WeightShare.h"
#include "codegen/cpu/Work.h"
#include "dialect/R1.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr llvm::StringLiteral kRegions = "sputnik_regions";
static constexpr llvm::StringLiteral kWeightShares = "sputnik_weight_shares";
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
  Value null() { return LLVM::ZeroOp::create(builder, loc, ptr); }
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
  /// The array of abi::WeightShare at `sputnik_weight_shares`.
  void emitWeightShares(ArrayRef<WeightShare> shares);
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
    if (!image.cubin.empty())
      emitBytes(name("cubin", i), image.cubin);
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
  SmallVector<Type> types = {ptr, i32, i32, i64, ptr, ptr, i64, i64, i64};
  for (size_t i = 0; i < std::tuple_size_v<decltype(KernelImage::phases)>; ++i)
    types.append({ptr, i64});
  emitTable(kKernelImages, types, images.size(), [&](size_t i) {
    const KernelImage &image = images[i];
    SmallVector<Value> fields = {
        address(name("chip", i)),
        integer(image.capability, 32),
        integer(image.onlyThis, 32),
        integer(image.dependent, 64),
        address(name("ptx", i)),
        image.cubin.empty() ? null() : address(name("cubin", i)),
        integer(image.arenaBytes, 64),
        integer(image.stateOffset, 64),
        integer(image.dotMacs, 64)};
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

void DescriptorEmitter::emitWeightShares(ArrayRef<WeightShare> shares) {
  Type i64 = builder.getI64Type();
  emitTable(kWeightShares, {i64, i64, i64, i64, i64, i64}, shares.size(),
            [&](size_t i) {
              r1::DerivedOp weight = shares[i].weight;
              r1::PlacementAttr placement = *weight.getPlacement();
              SmallVector<Value> fields;
              for (int64_t number :
                   {placement.getOffset(), r1::getWeightLayers(weight),
                    placement.getStride(), shares[i].parts,
                    shares[i].partBytes, shares[i].unitBytes})
                fields.push_back(integer(number, 64));
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
  auto noAddress = [&] {
    types.push_back(ptr);
    fields.push_back([&] { return null(); });
  };
  auto phase = [&](StringRef name) {
    const EmittedPhase *found = llvm::find_if(phases, [&](const auto &phase) {
      return phase.name == name;
    });
    if (found == phases.end()) {
      noAddress();
      for (int field = 0; field < 3; ++field)
        number(0);
      return;
    }
    if (found->symbol.empty())
      noAddress();
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
    noAddress();
  } else {
    emitRegions(regions);
    symbol(kRegions);
  }
  number(regions.size());
  phase(r1::kDraftVerify);
  phase(r1::kDraftPrefill);
  number(stateRowBytes);
  if (description.kernels.empty()) {
    noAddress();
    noAddress();
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
  SmallVector<r1::RegionOp> allRegions;
  for (const EmittedPhase &phase : phases)
    llvm::append_range(allRegions, phase.regions);
  SmallVector<WeightShare> shares = listWeightShares(allRegions);
  emitWeightShares(shares);
  symbol(kWeightShares);
  number(shares.size());

  Type type = LLVM::LLVMStructType::getLiteral(builder.getContext(), types);
  emitConstant("sputnik_model", LLVM::Linkage::External, type, [&] {
    Value model = LLVM::UndefOp::create(builder, loc, type);
    for (auto [i, field] : llvm::enumerate(fields))
      model = LLVM::InsertValueOp::create(builder, loc, model, field(),
                                          static_cast<int64_t>(i));
    return model;
  });
}

void sputnik::cpu::emitModelDescriptor(ModuleOp code,
                                       const ModelDescription &description,
                                       ArrayRef<EmittedPhase> phases,
                                       func::FuncOp decode,
                                       uint64_t weightBytes) {
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
  DescriptorEmitter(code).emit(description, phases, cache, vocabulary,
                                stateRowBytes, weightBytes,
                                countTraffic(decode));
}
