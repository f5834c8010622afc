//===- Chip.cpp - The GPUs that code is made for --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Chip.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/DynamicLibrary.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace sputnik;

namespace {

/// What code generation needs to know of a chip. Of the products with one, the
/// numbers are those of the one that serves models most.
struct Chip {
  StringRef name;
  StringRef features;  ///< The oldest PTX that has all that kernels use.
  int64_t sharedBytes; ///< Most that a block may have.
  int64_t l2;          ///< Bytes.
  int64_t processors;  ///< Streaming multiprocessors.
  r1::DotKind dot;     ///< Of matrices in bf16.
  StringRef products;
};

} // namespace

// NVIDIA, CUDA C++ Programming Guide, table of technical specifications per
// compute capability; product data sheets.
static constexpr Chip kChips[] = {
    {"sm_80", "+ptx74", 163 << 10, 40 << 20, 108, r1::DotKind::MMA, "A100"},
    {"sm_86", "+ptx74", 99 << 10, 6 << 20, 84, r1::DotKind::MMA,
     "A40, RTX 3090"},
    {"sm_89", "+ptx78", 99 << 10, 72 << 20, 128, r1::DotKind::MMA,
     "L40S, RTX 4090"},
    {"sm_90a", "+ptx80", 227 << 10, 50 << 20, 132, r1::DotKind::WGMMA,
     "H100, H200"},
    {"sm_100a", "+ptx86", 227 << 10, 126 << 20, 148, r1::DotKind::MMA, "B200"},
    {"sm_120", "+ptx87", 99 << 10, 96 << 20, 170, r1::DotKind::MMA, "RTX 5090"},
};

static constexpr llvm::StringLiteral kTriple = "nvptx64-nvidia-cuda";

bool sputnik::gpu::isChipName(StringRef name) {
  return name.starts_with("sm_");
}

llvm::Expected<r1::TargetAttr> sputnik::gpu::getTarget(StringRef name,
                                              MLIRContext &context) {
  const Chip *chip = llvm::find_if(
      kChips, [&](const Chip &chip) { return chip.name == name; });
  if (chip == std::end(kChips)) {
    SmallVector<StringRef> names;
    for (const Chip &known : kChips)
      names.push_back(known.name);
    return llvm::createStringError("--target: found '%s', expected one of %s",
                                   name.str().c_str(),
                                   llvm::join(names, ", ").c_str());
  }
  // A thread loads 128 bits at a time and has up to 255 registers.
  return r1::TargetAttr::get(&context, kTriple, chip->name, chip->features,
                             /*vector_bits=*/128, /*vector_registers=*/255,
                             chip->dot, r1::IntDotKind::DP4A,
                             chip->sharedBytes, chip->l2, /*l3=*/0,
                             chip->processors);
}

gpu::Capability sputnik::gpu::getCapability(StringRef chip) {
  chip.consume_front("sm_");
  gpu::Capability capability = {0, chip.consume_back("a")};
  chip.getAsInteger(10, capability.number);
  return capability;
}

/// What the driver says the first GPU's compute capability is, 0 if it says
/// nothing.
static unsigned askDriver() {
  using llvm::sys::DynamicLibrary;
  DynamicLibrary driver = DynamicLibrary::getPermanentLibrary("libcuda.so.1");
  auto init = reinterpret_cast<int (*)(unsigned)>(
      driver.getAddressOfSymbol("cuInit"));
  auto getDevice = reinterpret_cast<int (*)(int *, int)>(
      driver.getAddressOfSymbol("cuDeviceGet"));
  auto getAttribute = reinterpret_cast<int (*)(int *, int, int)>(
      driver.getAddressOfSymbol("cuDeviceGetAttribute"));
  int device = 0, major = 0, minor = 0;
  // CUdevice_attribute: 75 and 76.
  if (!init || !getDevice || !getAttribute || init(0) != 0 ||
      getDevice(&device, 0) != 0 || getAttribute(&major, 75, device) != 0 ||
      getAttribute(&minor, 76, device) != 0)
    return 0;
  return 10 * major + minor;
}

StringRef sputnik::gpu::getNativeChip() {
  const unsigned here = askDriver();
  StringRef best;
  for (const Chip &chip : kChips) {
    auto [number, onlyThis] = gpu::getCapability(chip.name);
    if (number == here || (number < here && !onlyThis))
      best = chip.name;
  }
  return best;
}

bool sputnik::gpu::hasDependentLaunch(r1::TargetAttr target) {
  return getCapability(target.getCpu()).number >= 90;
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
sputnik::gpu::createTargetMachine(r1::TargetAttr target) {
  static bool once = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)once;
  llvm::Triple triple(target.getTriple());
  std::string error;
  const llvm::Target *backend =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!backend)
    return llvm::createStringError(error);
  llvm::TargetOptions options;
  // A product is rounded before it is added, as on CPUs; what should be fused
  // says so.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(
      triple, target.getCpu(), target.getFeatures(), options, std::nullopt,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

bool sputnik::gpu::hasWarpgroupProducts(r1::TargetAttr target) {
  return target.getBf16Dot() == r1::DotKind::WGMMA;
}

void sputnik::gpu::printTargets(raw_ostream &os) {
  for (const Chip &chip : kChips)
    os << llvm::left_justify(chip.name, 22) << chip.products << ", "
       << chip.processors << " multiprocessors, shared memory "
       << (chip.sharedBytes >> 10) << "K, L2 " << (chip.l2 >> 20) << "M\n";
}
