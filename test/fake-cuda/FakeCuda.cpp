//===- FakeCuda.cpp - A CUDA driver that runs kernels in the emulator -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The functions of the driver API that executables use. Kernels are looked up
// in the PTX or cubin that the executable brings; what runs is their LLVM IR, in
// the file that SPUTNIK_FAKE_CUDA_IR names, or else in <executable>.ll. Memory of the
// device is memory of the host, full of 0xff when it is new.
//
// SPUTNIK_FAKE_CUDA_CAPABILITY is the chip (90 if not set);
// SPUTNIK_FAKE_CUDA_FAULT one thing that is wrong with the machine;
// SPUTNIK_FAKE_CUDA_REPORT a file for what was done when the context goes.
//
//===----------------------------------------------------------------------===//

#include "ModuleImage.h"
#include "codegen/gpu/emulator/Emulator.h"
#include "runtime/gpu/CudaDriver.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

using namespace sputnik;

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

// CUresult.
enum Code : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidImage = 200,
  kNotFound = 500,
  kUnsupportedPtx = 222,
  kIllegalAddress = 700,
  kUnknown = 999,
};

// CUdevice_attribute.
enum Attribute : int {
  kProcessors = 16,
  kL2Bytes = 38,
  kMajor = 75,
  kMinor = 76,
};

constexpr size_t kSmallMemory = 64 << 10;

struct KernelFunction {
  std::string name;
  uint64_t sharedLimit = 48 << 10;
};

using Clock = std::chrono::steady_clock;

struct Launch {
  KernelFunction *function;
  gpu::Grid::Shape shape;
  std::vector<std::vector<uint8_t>> arguments;
};

using LaunchGraph = std::vector<Launch>;

/// The one device, its one context and stream.
struct State {
  std::map<uint64_t, std::vector<uint8_t>> memory;
  std::unique_ptr<gpu::Emulator> emulator;
  testing::ModuleImage module;
  std::map<std::string, KernelFunction> functions;
  LaunchGraph *capture = nullptr;
  int launches = 0;
  // For the report.
  std::set<std::string> launched;
  size_t largestCopy = 0;
} state;

llvm::StringRef environment(const char *name, const char *otherwise) {
  const char *value = std::getenv(name);
  return value ? value : otherwise;
}

std::string kernelsPath() {
  if (const char *path = std::getenv("SPUTNIK_FAKE_CUDA_IR"))
    return path;
  return llvm::sys::fs::getMainExecutable(nullptr, nullptr) + ".ll";
}

bool hasFault(llvm::StringRef fault) {
  return environment("SPUTNIK_FAKE_CUDA_FAULT", "") == fault;
}

/// 10 * major + minor.
int getCapability() {
  int capability = 0;
  environment("SPUTNIK_FAKE_CUDA_CAPABILITY", "90")
      .getAsInteger(10, capability);
  return capability;
}

Code run(Launch &launch) {
  if (hasFault("lost") && ++state.launches > 100)
    return kIllegalAddress;
  state.launched.insert(launch.function->name);
  std::vector<void *> arguments;
  for (std::vector<uint8_t> &bytes : launch.arguments)
    arguments.push_back(bytes.data());
  llvm::Error error =
      state.emulator->launch(launch.function->name, launch.shape, arguments);
  if (!error)
    return kSuccess;
  llvm::errs() << "fake CUDA: " << toString(std::move(error)) << "\n";
  return kIllegalAddress;
}

/// Kilobytes in memory of mapped files whose names end in .weights.
uint64_t residentWeights() {
  std::ifstream maps("/proc/self/smaps");
  uint64_t total = 0;
  bool counts = false;
  for (std::string text; std::getline(maps, text);) {
    llvm::StringRef line = text;
    if (line.contains('/'))
      counts = line.ends_with(".weights");
    uint64_t kilobytes;
    if (counts && line.consume_front("Rss:")) {
      line = line.trim();
      if (!line.consumeInteger(10, kilobytes))
        total += kilobytes;
    }
  }
  return total;
}

/// Writes what was done to the file that SPUTNIK_FAKE_CUDA_REPORT names.
void report() {
  const char *path = std::getenv("SPUTNIK_FAKE_CUDA_REPORT");
  if (!path)
    return;
  std::ofstream file(path);
  file << state.module.what << "\n";
  for (const std::string &kernel : state.launched)
    file << "launched " << kernel << "\n";
  file << "largest copy to the device: " << state.largestCopy << " bytes\n"
       << "resident of files of weights: " << residentWeights() << " kB\n";
}

/// Whether [address, address + bytes) lies in one allocation.
bool isAllocated(uint64_t address, size_t bytes) {
  auto next = state.memory.upper_bound(address);
  if (next == state.memory.begin())
    return false;
  auto &[begin, block] = *std::prev(next);
  return address + bytes <= begin + block.size();
}

} // namespace

EXPORT int cuInit(unsigned) { return hasFault("no-start") ? kUnknown : kSuccess; }
EXPORT int cuDriverGetVersion(int *version) {
  *version = hasFault("old-driver") ? 11040 : 13000;
  return kSuccess;
}
EXPORT int cuGetErrorString(int code, const char **text) {
  *text = code == kOutOfMemory      ? "out of memory"
          : code == kIllegalAddress ? "an illegal memory access was encountered"
          : code == kInvalidImage   ? "device kernel image is invalid"
          : code == kUnsupportedPtx ? "the provided PTX was compiled with an "
                                      "unsupported toolchain."
          : code == kUnknown        ? "unknown error"
                                    : "invalid argument";
  return kSuccess;
}
EXPORT int cuDeviceGetCount(int *count) {
  *count = hasFault("no-device") ? 0 : 1;
  return kSuccess;
}
EXPORT int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 && !hasFault("no-device") ? kSuccess : kInvalidValue;
}
EXPORT int cuDeviceGetName(char *name, int length, int) {
  std::strncpy(name, "Emulated GPU", static_cast<size_t>(length));
  return kSuccess;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int) {
  switch (attribute) {
  case kProcessors:
    *value = 2;
    return kSuccess;
  case kL2Bytes:
    *value = 64 << 10;
    return kSuccess;
  case kMajor:
    *value = getCapability() / 10;
    return kSuccess;
  case kMinor:
    *value = getCapability() % 10;
    return kSuccess;
  default:
    return kInvalidValue;
  }
}
EXPORT int cuDevicePrimaryCtxRetain(void **context, int) {
  *context = &state;
  return kSuccess;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int) {
  report();
  return kSuccess;
}
EXPORT int cuCtxSetCurrent(void *) { return kSuccess; }

EXPORT int cuMemGetInfo_v2(size_t *free, size_t *total) {
  *free = hasFault("small-memory") ? kSmallMemory : size_t(79) << 30;
  *total = size_t(80) << 30;
  return kSuccess;
}
EXPORT int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  if (bytes == 0 || (hasFault("small-memory") && bytes > kSmallMemory))
    return bytes ? kOutOfMemory : kInvalidValue;
  // The driver aligns to 256 bytes; what generated code relies on is 64.
  std::vector<uint8_t> block(bytes + 64, 0xff);
  const uint64_t aligned =
      (reinterpret_cast<uint64_t>(block.data()) + 63) & ~uint64_t(63);
  state.memory[aligned] = std::move(block);
  if (state.emulator)
    state.emulator->addBuffer("device memory",
                              reinterpret_cast<void *>(aligned), bytes, true);
  *address = aligned;
  return kSuccess;
}
EXPORT int cuMemFree_v2(uint64_t address) {
  if (state.emulator)
    state.emulator->removeBuffer(reinterpret_cast<void *>(address));
  return state.memory.erase(address) ? kSuccess : kInvalidValue;
}
EXPORT int cuMemsetD8Async(uint64_t address, unsigned char value, size_t bytes,
                           void *) {
  if (!isAllocated(address, bytes))
    return kInvalidValue;
  std::memset(reinterpret_cast<void *>(address), value, bytes);
  return kSuccess;
}
EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes,
                                void *) {
  if (!isAllocated(to, bytes))
    return kInvalidValue;
  state.largestCopy = std::max(state.largestCopy, bytes);
  if (hasFault("lost-early") && bytes > kSmallMemory)
    return kUnknown;
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return kSuccess;
}
EXPORT int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *) {
  if (!isAllocated(from, bytes))
    return kInvalidValue;
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return kSuccess;
}
EXPORT int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes,
                                void *) {
  if (!isAllocated(to, bytes) || !isAllocated(from, bytes))
    return kInvalidValue;
  std::memcpy(reinterpret_cast<void *>(to),
              reinterpret_cast<const void *>(from), bytes);
  return kSuccess;
}
EXPORT int cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
  *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!*memory)
    return kOutOfMemory;
  if (state.emulator)
    state.emulator->addBuffer("memory of the host", *memory, bytes, true);
  return kSuccess;
}
EXPORT int cuMemHostGetDevicePointer_v2(uint64_t *address, void *memory,
                                        unsigned) {
  *address = reinterpret_cast<uint64_t>(memory);
  return kSuccess;
}
EXPORT int cuMemFreeHost(void *memory) {
  if (state.emulator)
    state.emulator->removeBuffer(memory);
  std::free(memory);
  return kSuccess;
}
EXPORT int cuEventSynchronize(void *) { return kSuccess; }
EXPORT int cuEventCreate(void **event, unsigned) {
  *event = new Clock::time_point();
  return kSuccess;
}
EXPORT int cuEventDestroy_v2(void *event) {
  delete static_cast<Clock::time_point *>(event);
  return kSuccess;
}
EXPORT int cuEventRecord(void *event, void *) {
  *static_cast<Clock::time_point *>(event) = Clock::now();
  return kSuccess;
}
EXPORT int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
  const std::chrono::duration<float, std::milli> elapsed =
      *static_cast<Clock::time_point *>(end) -
      *static_cast<Clock::time_point *>(start);
  *milliseconds = elapsed.count();
  return kSuccess;
}
EXPORT int cuStreamCreate(void **stream, unsigned) {
  *stream = &state;
  return kSuccess;
}
EXPORT int cuStreamDestroy_v2(void *) { return kSuccess; }
EXPORT int cuStreamSynchronize(void *) {
  return state.capture ? kInvalidValue : kSuccess;
}

EXPORT int cuStreamQuery(void *) { return kSuccess; }

EXPORT int cuModuleLoadDataEx(void **module, const void *image, unsigned, int *,
                              void **values) {
  const bool isCubin = testing::ModuleImage::isCubin(image);
  if (hasFault("old-ptx") && !isCubin) {
    // The log comes before its size.
    std::strncpy(static_cast<char *>(values[0]),
                 "ptxas application ptx input, line 9; fatal   : Unsupported "
                 ".version 8.0; current version is '7.8'\nptxas fatal   : Ptx "
                 "assembly aborted due to errors",
                 reinterpret_cast<size_t>(values[1]) - 1);
    return kUnsupportedPtx;
  }
  auto found = testing::ModuleImage::read(image, getCapability());
  if (!found || (hasFault("no-cubin") && isCubin))
    return kInvalidImage;
  state.module = std::move(*found);
  auto context = std::make_unique<llvm::LLVMContext>();
  llvm::SMDiagnostic diagnostic;
  auto ir = llvm::parseIRFile(kernelsPath(), diagnostic, *context);
  if (!ir) {
    llvm::errs() << "fake CUDA: " << kernelsPath() << ": "
                 << diagnostic.getMessage() << "\n";
    return kInvalidImage;
  }
  auto emulator = gpu::Emulator::create(std::move(ir), std::move(context));
  if (!emulator) {
    llvm::errs() << "fake CUDA: " << toString(emulator.takeError()) << "\n";
    return kInvalidImage;
  }
  state.emulator = std::move(*emulator);
  *module = &state;
  return kSuccess;
}
EXPORT int cuModuleUnload(void *) {
  state.emulator.reset();
  return kSuccess;
}
EXPORT int cuModuleGetFunction(void **function, void *, const char *name) {
  if (!state.module.kernels.contains(name) || !state.emulator->hasKernel(name))
    return kNotFound;
  KernelFunction &found = state.functions[name];
  found.name = name;
  *function = &found;
  return kSuccess;
}
EXPORT int cuFuncSetAttribute(void *function, int, int value) {
  static_cast<KernelFunction *>(function)->sharedLimit =
      static_cast<uint64_t>(value);
  return kSuccess;
}
EXPORT int cuLaunchKernelEx(const rt::cuda::LaunchShape *shape, void *function,
                            void **arguments, void **) {
  auto *kernel = static_cast<KernelFunction *>(function);
  if (shape->gridX * shape->gridY * shape->gridZ == 0 || shape->blockY != 1 ||
      shape->blockZ != 1 || shape->sharedBytes > kernel->sharedLimit)
    return kInvalidValue;
  bool early = false;
  for (unsigned i = 0; i < shape->attributeCount; ++i) {
    if (shape->attributes[i].id != rt::cuda::kProgrammaticSerialization)
      return kInvalidValue;
    early = shape->attributes[i].value.number != 0;
  }
  Launch launch{kernel,
                {shape->gridX, shape->gridY, shape->blockX, shape->sharedBytes,
                 early},
                {}};
  for (auto [i, bytes] : llvm::enumerate(
           state.emulator->getArgumentBytes(kernel->name))) {
    const auto *from = static_cast<const uint8_t *>(arguments[i]);
    launch.arguments.emplace_back(from, from + bytes);
  }
  if (state.capture) {
    state.capture->push_back(std::move(launch));
    return kSuccess;
  }
  return run(launch);
}

EXPORT int cuLaunchKernel(void *function, unsigned gridX, unsigned gridY,
                          unsigned gridZ, unsigned blockX, unsigned blockY,
                          unsigned blockZ, unsigned sharedBytes, void *,
                          void **arguments, void **extra) {
  const rt::cuda::LaunchShape shape = {gridX,  gridY,       gridZ,   blockX,
                                       blockY, blockZ,      sharedBytes,
                                       nullptr, nullptr,    0};
  return cuLaunchKernelEx(&shape, function, arguments, extra);
}

EXPORT int cuStreamBeginCapture_v2(void *, int) {
  state.capture = new LaunchGraph();
  return kSuccess;
}
EXPORT int cuStreamEndCapture(void *, void **graph) {
  *graph = std::exchange(state.capture, nullptr);
  return kSuccess;
}
EXPORT int cuGraphInstantiateWithFlags(void **exec, void *graph,
                                       unsigned long long) {
  *exec = new LaunchGraph(*static_cast<LaunchGraph *>(graph));
  return kSuccess;
}
EXPORT int cuGraphDestroy(void *graph) {
  delete static_cast<LaunchGraph *>(graph);
  return kSuccess;
}
EXPORT int cuGraphExecDestroy(void *exec) {
  delete static_cast<LaunchGraph *>(exec);
  return kSuccess;
}
EXPORT int cuGraphLaunch(void *exec, void *) {
  for (Launch &launch : *static_cast<LaunchGraph *>(exec))
    if (Code code = run(launch))
      return code;
  return kSuccess;
}
