//===- CudaDevice.cpp - A model on an NVIDIA GPU --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/gpu/CudaDevice.h"

#include <algorithm>
#include <tuple>

namespace sputnik::rt::cuda {

Result<std::unique_ptr<CudaDevice>>
CudaDevice::open(const abi::Model &model, const uint8_t *weights,
                 int64_t slots) {
  Result<Driver> driver = Driver::load();
  if (!driver)
    return driver.error();
  std::unique_ptr<CudaDevice> device(new CudaDevice(*driver, model));
  if (Status status = device->choose(); !status)
    return status.error();
  if (Status status = device->loadKernels(); !status)
    return status.error();
  if (Status status = device->allocateAll(slots); !status)
    return status.error();
  if (Status status = device->fillWeights(weights); !status)
    return status.error();
  return device;
}

CudaDevice::~CudaDevice() {
  // A GPU that is lost cannot be tidied up: errors do not matter any more.
  if (!context)
    return;
  dropGraphs();
  for (Event event : events)
    driver.eventDestroy(event);
  for (const Buffer &buffer : indices)
    driver.memFree(buffer.address);
  for (const Buffer &buffer : caches)
    driver.memFree(buffer.address);
  for (const Buffer *buffer :
       {&logits, &weights, &arena, &cachePointers, &sampling})
    driver.memFree(buffer->address);
  if (ring)
    driver.hostFree(ring);
  if (module)
    driver.moduleUnload(module);
  if (stream)
    driver.streamDestroy(stream);
  driver.contextRelease(device);
}

/// Finds the first GPU and the kernels for it.
Status CudaDevice::choose() {
  int count = 0;
  if (Status status = check(driver.deviceGetCount(&count), "no GPUs"); !status)
    return status;
  if (count == 0)
    return SPUTNIK_ERROR("GPU: the NVIDIA driver finds none");
  char name[128] = "";
  int major = 0, minor = 0;
  for (Code code :
       {driver.deviceGet(&device, 0),
        driver.deviceGetName(name, sizeof(name), device),
        driver.deviceGetAttribute(&major, kMajor, device),
        driver.deviceGetAttribute(&minor, kMinor, device)})
    if (Status status = check(code, "cannot be asked what it is"); !status)
      return status;
  deviceName = name;
  capability = 10 * major + minor;
  std::string chips;
  for (uint64_t i = 0; i < model.imageCount; ++i) {
    const abi::KernelImage &candidate = model.images[i];
    chips += std::string(chips.empty() ? "" : ", ") + candidate.chip;
    const auto made = static_cast<int>(candidate.capability);
    const bool runs =
        candidate.onlyThis ? made == capability : made <= capability;
    // The one made for the chip itself, else for the latest before it.
    if (runs && (!image || candidate.capability > image->capability))
      image = &candidate;
  }
  if (!image)
    return SPUTNIK_ERROR("GPU: %s has compute capability %d.%d, this "
                         "executable has kernels for %s",
                         name, major, minor, chips.c_str());
  if (Status status = check(driver.contextRetain(&context, device), name);
      !status)
    return status;
  if (Status status = check(driver.contextSetCurrent(context), name); !status)
    return status;
  return check(driver.streamCreate(&stream, kNonBlocking), name);
}

Status CudaDevice::loadPtx() {
  char log[1024] = "";
  int options[] = {kErrorLog, kErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  const Status status =
      check(driver.moduleLoad(&module, image->ptx, 2, options, values),
            "the driver does not take the kernels");
  const std::string firstLine(log, std::find(log, log + sizeof(log) - 1, '\n'));
  if (status || firstLine.empty())
    return status;
  return SPUTNIK_ERROR("%s: %s", status.error().message.c_str(),
                       firstLine.c_str());
}

Status CudaDevice::loadKernels() {
  // Machine code runs on the chip that it was made for and on later ones of the
  // same generation. A driver may still be too old for it.
  const bool sameGeneration =
      static_cast<int>(image->capability) / 10 == capability / 10;
  if (!image->cubin || !sameGeneration ||
      driver.moduleLoad(&module, image->cubin, 0, nullptr, nullptr) != kSuccess)
    if (Status status = loadPtx(); !status)
      return status;
  const std::tuple<Phase &, const abi::KernelPhase &, int64_t> phases[] = {
      {decodePhase, image->decode, model.decode.maxRows},
      {verify, image->verify, model.verify.maxRows},
      {prefill, image->prefill, model.prefill.maxRows},
      {draftVerify, image->draftVerify, model.draftVerify.maxRows},
      {draftPrefill, image->draftPrefill, model.draftPrefill.maxRows},
      {sample, image->sample, 1}};
  for (const auto &[phase, plan, maxRows] : phases)
    if (Status status = load(phase, plan, maxRows); !status)
      return status;
  return {};
}

Status CudaDevice::load(Phase &phase, const abi::KernelPhase &plan,
                        int64_t maxRows) {
  phase.plan = &plan;
  phase.maxRows = maxRows;
  for (uint64_t i = 0; i < plan.count; ++i) {
    const abi::KernelLaunch &launch = plan.launches[i];
    Function function = nullptr;
    if (Status status = check(
            driver.moduleGetFunction(&function, module, launch.kernel),
            launch.kernel);
        !status)
      return status;
    if (Status status = check(
            driver.functionSetAttribute(function, kMaxDynamicSharedBytes,
                                        static_cast<int>(launch.sharedBytes)),
            launch.kernel);
        !status)
      return status;
    phase.functions.push_back(function);
  }
  return {};
}

Status CudaDevice::allocate(Buffer &buffer, uint64_t bytes) {
  // The driver gives no memory of no bytes.
  buffer.bytes = std::max<uint64_t>(bytes, 1);
  if (driver.memAlloc(&buffer.address, buffer.bytes) == kSuccess)
    return {};
  buffer.address = 0;
  size_t free = 0, total = 0;
  driver.memGetInfo(&free, &total);
  return SPUTNIK_ERROR(
      "GPU: %s has %llu MiB of memory free, the model needs %llu MiB",
      deviceName.c_str(), static_cast<unsigned long long>(free >> 20),
      static_cast<unsigned long long>((needed >> 20) + 1));
}

Status CudaDevice::allocateAll(int64_t slots) {
  const auto rows = static_cast<uint64_t>(prefill.maxRows);
  const auto cacheCount = static_cast<uint64_t>(slots);
  needed = model.weightBytes + image->arenaBytes +
           cacheCount * model.cacheBytes +
           logitBytes(verify.maxRows);
  // Random weights are made in whole lines.
  if (Status status = allocate(weights, (model.weightBytes + 63) / 64 * 64);
      !status)
    return status;
  if (Status status = allocate(arena, image->arenaBytes); !status)
    return status;
  if (Status status = allocate(cachePointers, cacheCount * sizeof(Address));
      !status)
    return status;
  if (Status status = allocate(sampling, sizeof(abi::Sampling)); !status)
    return status;
  void *memory = nullptr;
  if (Status status =
          check(driver.hostAlloc(&memory,
                                 abi::kMaxStepsAhead * sizeof(*ring),
                                 kDeviceMapped),
                "memory of the host");
      !status)
    return status;
  ring = static_cast<abi::SampledToken *>(memory);
  for (Buffer &buffer : indices)
    if (Status status = allocate(buffer, rows * sizeof(int32_t)); !status)
      return status;
  if (Status status = growLogits(verify.maxRows); !status)
    return status;
  std::vector<Address> pointers;
  for (int64_t slot = 0; slot < slots; ++slot) {
    caches.emplace_back();
    if (Status status = allocate(caches.back(), model.cacheBytes); !status)
      return status;
    pointers.push_back(caches.back().address);
  }
  // Counters begin at zero, and what lies behind a row's end is a number.
  if (Status status =
          check(driver.memSet(arena.address, 0, arena.bytes, stream), "memory");
      !status)
    return status;
  if (Status status =
          check(driver.copyToDevice(cachePointers.address, pointers.data(),
                                    pointers.size() * sizeof(Address), stream),
                "memory");
      !status)
    return status;
  return check(driver.streamSynchronize(stream), "memory");
}

} // namespace sputnik::rt::cuda

//===----------------------------------------------------------------------===//
// abi::Accelerator
//===----------------------------------------------------------------------===//

namespace {

using sputnik::rt::cuda::CudaDevice;

/// Keeps a message until the next call.
const char *keep(const sputnik::rt::Error &error) {
  static std::string message;
  message = error.message;
  return message.c_str();
}

const char *openDevice(const sputnik::abi::Model *model,
                       const uint8_t *weights, int64_t slots, void **device) {
  auto opened = CudaDevice::open(*model, weights, slots);
  if (!opened)
    return keep(opened.error());
  *device = opened->release();
  return nullptr;
}

const char *runStep(void *device, sputnik::abi::StepKind kind,
                    const sputnik::abi::Step *step) {
  const sputnik::rt::Status status =
      static_cast<CudaDevice *>(device)->step(kind, *step);
  return status ? nullptr : keep(status.error());
}

const char *moveState(void *device, int64_t from, int64_t to) {
  const sputnik::rt::Status status =
      static_cast<CudaDevice *>(device)->moveState(from, to);
  return status ? nullptr : keep(status.error());
}

const char *beginDecoding(void *device,
                          const sputnik::abi::DecodeStart *start) {
  const sputnik::rt::Status status =
      static_cast<CudaDevice *>(device)->beginDecoding(*start);
  return status ? nullptr : keep(status.error());
}

const char *decode(void *device) {
  const sputnik::rt::Status status =
      static_cast<CudaDevice *>(device)->decode();
  return status ? nullptr : keep(status.error());
}

const char *nextToken(void *device, sputnik::abi::SampledToken *token) {
  const auto next = static_cast<CudaDevice *>(device)->nextToken();
  if (!next)
    return keep(next.error());
  *token = *next;
  return nullptr;
}

const char *endDecoding(void *device) {
  const sputnik::rt::Status status =
      static_cast<CudaDevice *>(device)->endDecoding();
  return status ? nullptr : keep(status.error());
}

const char *measureDevice(void *device, sputnik::abi::DeviceLimit limit,
                          double *perSecond) {
  const auto measured = static_cast<CudaDevice *>(device)->measure(limit);
  if (!measured)
    return keep(measured.error());
  *perSecond = *measured;
  return nullptr;
}

const char *nameOfDevice(void *device) {
  return static_cast<CudaDevice *>(device)->name();
}

void closeDevice(void *device) { delete static_cast<CudaDevice *>(device); }

} // namespace

const sputnik::abi::Accelerator sputnik_cuda = {
    openDevice, runStep,     moveState,     beginDecoding, decode,
    nextToken,  endDecoding, measureDevice, nameOfDevice,  closeDevice};
