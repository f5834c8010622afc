//===- Target.cpp - The machine that code is made for ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Target.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/Threading.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace sputnik;

static constexpr llvm::StringLiteral kX86Triple = "x86_64-unknown-linux-gnu";
static constexpr llvm::StringLiteral kArmTriple = "aarch64-unknown-linux-gnu";

static void initializeBackends() {
  static bool once = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    return true;
  }();
  (void)once;
}

static const llvm::Target *lookupBackend(const llvm::Triple &triple) {
  initializeBackends();
  std::string error;
  return llvm::TargetRegistry::lookupTarget(triple, error);
}

namespace {

/// Cache sizes in bytes and cores; typical ones unless the host is asked.
struct Machine {
  int64_t l1 = 32 << 10, l2 = 1 << 20, l3 = 32 << 20, cores = 8;
};

} // namespace

/// Reads one number of Linux's cache description, such as "32K".
static int64_t readCacheNumber(const Twine &path) {
  llvm::ErrorOr<std::unique_ptr<llvm::MemoryBuffer>> buffer =
      llvm::MemoryBuffer::getFileAsStream(path);
  if (!buffer)
    return 0;
  StringRef text = (*buffer)->getBuffer().trim();
  int64_t unit = text.consume_back("K")   ? 1 << 10
                 : text.consume_back("M") ? 1 << 20
                                          : 1;
  int64_t value = 0;
  return text.getAsInteger(10, value) ? 0 : value * unit;
}

static Machine askHost() {
  Machine machine;
  for (int index = 0; index < 8; ++index) {
    Twine folder("/sys/devices/system/cpu/cpu0/cache/index");
    std::string base = (folder + Twine(index)).str();
    llvm::ErrorOr<std::unique_ptr<llvm::MemoryBuffer>> type =
        llvm::MemoryBuffer::getFileAsStream(base + "/type");
    if (!type || (*type)->getBuffer().starts_with("Instruction"))
      continue;
    int64_t size = readCacheNumber(base + "/size");
    if (size <= 0)
      continue;
    switch (readCacheNumber(base + "/level")) {
    case 1:
      machine.l1 = size;
      break;
    case 2:
      machine.l2 = size;
      break;
    case 3:
      machine.l3 = size;
      break;
    }
  }
  int cores = llvm::get_physical_cores();
  machine.cores = cores > 0 ? cores : 1;
  return machine;
}

/// The best of the instructions that multiply 8-bit integers.
static r1::IntDotKind chooseInt8Dot(const llvm::MCSubtargetInfo &info,
                                    int64_t vectorBits) {
  auto has = [&](StringRef features) { return info.checkFeatures(features); };
  if (info.getTargetTriple().isAArch64())
    return has("+dotprod,+i8mm") ? r1::IntDotKind::I8MM
           : has("+dotprod")     ? r1::IntDotKind::DotProd
           : has("+neon")        ? r1::IntDotKind::NEON
                                 : r1::IntDotKind::None;
  if (vectorBits == 512)
    return has("+avx512vnni") ? r1::IntDotKind::AVX512VNNI
                              : r1::IntDotKind::AVX512BW;
  if (vectorBits == 256)
    return has("+avxvnni") ? r1::IntDotKind::AVXVNNI : r1::IntDotKind::AVX2;
  return r1::IntDotKind::None;
}

static r1::TargetAttr describe(MLIRContext &context, StringRef triple,
                               StringRef cpu, StringRef features,
                               const Machine &machine) {
  llvm::Triple parsed(triple);
  const llvm::Target *backend = lookupBackend(parsed);
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      backend->createMCSubtargetInfo(parsed, cpu, features));
  int64_t bits = 128, registers = 32;
  r1::DotKind dot = r1::DotKind::FMA;
  if (parsed.isAArch64() && info->checkFeatures("+bf16"))
    dot = r1::DotKind::BF16;
  if (parsed.isX86()) {
    bool wide = info->checkFeatures("+avx512f,+avx512vl,+avx512bw");
    bits = wide ? 512 : info->checkFeatures("+avx2,+fma") ? 256 : 128;
    registers = wide ? 32 : 16;
    if (wide && info->checkFeatures("+avx512bf16"))
      dot = r1::DotKind::AVX512BF16;
  }
  return r1::TargetAttr::get(&context, triple, cpu, features, bits, registers,
                             dot, chooseInt8Dot(*info, bits), machine.l1, machine.l2, machine.l3,
                             machine.cores);
}

bool sputnik::cpu::hasFeature(r1::TargetAttr target, StringRef feature) {
  llvm::Triple triple(target.getTriple());
  const llvm::Target *backend = lookupBackend(triple);
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      backend ? backend->createMCSubtargetInfo(triple, target.getCpu(),
                                               target.getFeatures())
              : nullptr);
  if (!info)
    return false;
  // A name of another architecture is not known.
  for (const llvm::SubtargetFeatureKV &known : info->getAllProcessorFeatures())
    if (feature == known.Key)
      return info->getFeatureBits().test(known.Value);
  return false;
}

/// Whether LLVM knows this CPU, as one that runs 64-bit code.
static bool knowsCPU(StringRef triple, StringRef cpu) {
  llvm::Triple parsed(triple);
  const llvm::Target *backend = lookupBackend(parsed);
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      backend->createMCSubtargetInfo(parsed, "", ""));
  if (!info->isCPUStringValid(cpu))
    return false;
  info.reset(backend->createMCSubtargetInfo(parsed, cpu, ""));
  return !parsed.isX86() || info->checkFeatures("+64bit");
}

/// Whether LLVM has a feature of this name, such as dotprod or avxvnni.
static bool knowsFeature(StringRef triple, StringRef feature) {
  llvm::Triple parsed(triple);
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      lookupBackend(parsed)->createMCSubtargetInfo(parsed, "", ""));
  return llvm::any_of(info->getAllProcessorFeatures(), [&](const auto &known) {
    return feature == known.Key;
  });
}

llvm::Expected<r1::TargetAttr>
sputnik::cpu::getTarget(StringRef name, MLIRContext &context) {
  initializeBackends();
  if (name == "native") {
    llvm::Triple host(llvm::sys::getDefaultTargetTriple());
    StringRef triple = host.isAArch64() ? kArmTriple : kX86Triple;
    SmallVector<std::string> features;
    for (const auto &feature : llvm::sys::getHostCPUFeatures())
      features.push_back((feature.second ? "+" : "-") + feature.first().str());
    llvm::sort(features);
    return describe(context, triple, llvm::sys::getHostCPUName(),
                    llvm::join(features, ","), askHost());
  }
  auto [machine, more] = name.split('+');
  auto [arch, armCpu] = machine.split(':');
  bool arm = arch == "aarch64";
  StringRef triple = arm ? kArmTriple : kX86Triple;
  StringRef cpu = !arm             ? machine
                  : armCpu.empty() ? StringRef("generic")
                                   : armCpu;
  if (!knowsCPU(triple, cpu))
    return llvm::createStringError(
        "--target: found '%s', expected native, x86-64-v3, x86-64-v4, an "
        "x86-64 CPU that LLVM knows, aarch64 or aarch64:CPU, and +FEATURE for "
        "each feature beside those of the CPU",
        name.str().c_str());
  SmallVector<StringRef> added;
  if (machine != name)
    more.split(added, '+');
  std::string features;
  for (StringRef feature : added) {
    if (!knowsFeature(triple, feature))
      return llvm::createStringError(
          "--target: found feature '%s' in '%s', expected one that LLVM knows "
          "for %s",
          feature.str().c_str(), name.str().c_str(),
          arm ? "aarch64" : "x86-64");
    features += (features.empty() ? "+" : ",+") + feature.str();
  }
  return describe(context, triple, cpu, features, Machine());
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
sputnik::cpu::createTargetMachine(r1::TargetAttr target, int optLevel,
                                  bool positionIndependent) {
  llvm::Triple triple(target.getTriple());
  const llvm::Target *backend = lookupBackend(triple);
  if (!backend)
    return llvm::createStringError("no LLVM back end for '%s'",
                                   target.getTriple().str().c_str());
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  auto level = optLevel == 0 ? llvm::CodeGenOptLevel::Less
                             : llvm::CodeGenOptLevel::Aggressive;
  std::unique_ptr<llvm::TargetMachine> machine(backend->createTargetMachine(
      triple, target.getCpu(), target.getFeatures(), options,
      positionIndependent ? llvm::Reloc::PIC_ : llvm::Reloc::Static,
      llvm::CodeModel::Small, level));
  if (!machine)
    return llvm::createStringError("LLVM cannot make code for '%s'",
                                   target.getTriple().str().c_str());
  return machine;
}

void sputnik::cpu::printTargets(MLIRContext &context, raw_ostream &os) {
  for (StringRef name :
       {"native", "x86-64-v3", "x86-64-v4", "znver4", "znver5", "sapphirerapids",
        "aarch64", "aarch64:neoverse-v2", "aarch64:apple-m1"}) {
    llvm::Expected<r1::TargetAttr> target = getTarget(name, context);
    if (!target) {
      llvm::consumeError(target.takeError());
      continue;
    }
    os << llvm::left_justify(name, 22) << target->getCpu() << ", "
       << target->getVectorBits() << "-bit vectors, bf16 dot "
       << r1::stringifyDotKind(target->getBf16Dot()) << ", int8 dot "
       << r1::stringifyIntDotKind(target->getInt8Dot()) << ", caches "
       << (target->getL1() >> 10) << "K/" << (target->getL2() >> 10) << "K/"
       << (target->getL3() >> 20) << "M, " << target->getCores()
       << " cores\n";
  }
  os << "Any other CPU name that LLVM knows works as well, and +FEATURE behind a "
        "name for\neach feature beside those of the CPU: x86-64-v3+avxvnni, "
        "aarch64+dotprod+i8mm.\n";
}
