//===- CudaDevice.cpp - A model on an NVIDIA GPU --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/gpu/CudaDevice.h"

#include <algorithm>
#include <utility>

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
  for (Phase *phase : {&decodePhase, &verify, &prefill})
    if (phase->graph)
      driver.graphExecDestroy(phase->graph);
  for (Event event : events)
    driver.eventDestroy(event);
  for (const Buffer &buffer : indices)
    driver.memFree(buffer.address);
  for (const Buffer &buffer : caches)
    driver.memFree(buffer.address);
  for (const Buffer *buffer :
       {&logits, &weights, &arena, &cachePointers, &sampling})
    driver.memFree(buffer->address);
  if (decodeGraph)
    driver.graphExecDestroy(decodeGraph);
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
  if (Status status = load(decodePhase, image->decode, model.decode.maxRows);
      !status)
    return status;
  if (Status status = load(verify, image->verify, model.verify.maxRows);
      !status)
    return status;
  if (Status status = load(sample, image->sample, 1); !status)
    return status;
  return load(prefill, image->prefill, model.prefill.maxRows);
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
           static_cast<uint64_t>(model.vocabSize) * sizeof(float);
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
  if (Status status = growLogits(1); !status)
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

Status CudaDevice::growLogits(uint64_t rows) {
  const uint64_t bytes =
      rows * static_cast<uint64_t>(model.vocabSize) * sizeof(float);
  if (bytes <= logits.bytes)
    return {};
  // Graphs hold the address.
  for (GraphExec *graph : {&decodePhase.graph, &verify.graph, &prefill.graph,
                           &decodeGraph})
    if (*graph)
      driver.graphExecDestroy(std::exchange(*graph, nullptr));
  if (logits.address)
    driver.memFree(std::exchange(logits, {}).address);
  return allocate(logits, bytes);
}

Status CudaDevice::launch(const Phase &phase, uint32_t rows,
                          uint32_t outputs) {
  for (uint64_t i = 0; i < phase.plan->count; ++i)
    if (Status status = launchOne(phase, i, rows, outputs); !status)
      return status;
  return {};
}

Status CudaDevice::launchOne(const Phase &phase, uint64_t number, uint32_t rows,
                             uint32_t outputs) {
  const abi::KernelLaunch &one = phase.plan->launches[number];
  const uint32_t count = rowsOf(one, rows, outputs);
  if (count == 0)
    return {};
  Address pointers[] = {indices[0].address, indices[1].address,
                        indices[2].address, indices[3].address,
                        logits.address,     weights.address,
                        arena.address,      cachePointers.address,
                        sampling.address};
  uint32_t layer = one.layer;
  void *arguments[] = {&pointers[0], &pointers[1], &pointers[2], &pointers[3],
                       &pointers[4], &pointers[5], &pointers[6], &pointers[7],
                       &pointers[8], &rows,        &outputs,     &layer};
  LaunchAttribute early = {kProgrammaticSerialization, 0, {1}};
  const bool mayStartEarly =
      image->dependent && driver.version >= kDependentLaunchVersion;
  const LaunchShape shape = {one.blocks,
                             (count + one.rowTile - 1) / one.rowTile,
                             1,
                             one.threads,
                             1,
                             1,
                             one.sharedBytes,
                             stream,
                             &early,
                             mayStartEarly ? 1u : 0u};
  return check(
      driver.launchEx(&shape, phase.functions[number], arguments, nullptr),
      one.kernel);
}

Status CudaDevice::capture(GraphExec &exec,
                           std::initializer_list<const Phase *> phases) {
  const char *what = "the graph of a step";
  if (Status status =
          check(driver.captureBegin(stream, kCaptureThreadLocal), what);
      !status)
    return status;
  Status launched;
  for (const Phase *phase : phases)
    if (launched)
      launched = launch(*phase, 1, 1);
  Graph graph = nullptr;
  const Code ended = driver.captureEnd(stream, &graph);
  if (!launched)
    return launched;
  if (Status status = check(ended, what); !status)
    return status;
  const Code code = driver.graphInstantiate(&exec, graph, 0);
  driver.graphDestroy(graph);
  return check(code, what);
}

Status CudaDevice::step(const abi::Step &step) {
  Phase &phase = step.rows <= decodePhase.maxRows ? decodePhase
                 : step.rows <= verify.maxRows ? verify
                                               : prefill;
  const auto rows = static_cast<uint32_t>(step.rows);
  const auto outputs = static_cast<uint32_t>(step.numOutputs);
  if (Status status = growLogits(outputs); !status)
    return status;
  const std::pair<const int32_t *, uint32_t> sources[kIndices] = {
      {step.tokens, rows},
      {step.slots, rows},
      {step.positions, rows},
      {step.outputs, outputs}};
  for (int i = 0; i < kIndices; ++i)
    if (sources[i].second)
      if (Status status = check(
              driver.copyToDevice(indices[i].address, sources[i].first,
                                  sources[i].second * sizeof(int32_t), stream),
              "a step");
          !status)
        return status;
  if (step.profile) {
    if (Status status = launchNoting(phase, rows, outputs, *step.profile);
        !status)
      return status;
  } else if (rows == 1 && outputs == 1) {
    if (!phase.graph)
      if (Status status = capture(phase.graph, {&phase}); !status)
        return status;
    if (Status status =
            check(driver.graphLaunch(phase.graph, stream), "a step");
        !status)
      return status;
  } else if (Status status = launch(phase, rows, outputs); !status) {
    return status;
  }
  if (outputs)
    if (Status status = check(
            driver.copyToHost(step.logits, logits.address,
                              outputs * static_cast<uint64_t>(model.vocabSize) *
                                  sizeof(float),
                              stream),
            "a step");
        !status)
      return status;
  return check(driver.streamSynchronize(stream), "a step");
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

const char *runStep(void *device, const sputnik::abi::Step *step) {
  const sputnik::rt::Status status =
      static_cast<CudaDevice *>(device)->step(*step);
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
    openDevice,    runStep,      beginDecoding, decode,     nextToken,
    endDecoding,   measureDevice, nameOfDevice, closeDevice};
