//===- CudaMeasure.cpp - What a GPU can do at most ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/gpu/CudaDevice.h"

#include <algorithm>

namespace sputnik::rt::cuda {

/// How often memory is read or copied in one measurement.
static constexpr int passes = 5;
/// How much larger than the cache the memory is.
static constexpr uint64_t cacheMultiple = 8;
/// Blocks for each multiprocessor: more than are there at a time, so that all
/// are busy to the end.
static constexpr uint64_t blocksPerProcessor = 16;
/// How long one measurement of the tensor cores takes at least, in seconds.
static constexpr double dotSeconds = 0.02;

Result<int> CudaDevice::attribute(int which) const {
  int value = 0;
  if (Status status = check(driver.deviceGetAttribute(&value, which, device),
                            "cannot be asked what it is");
      !status)
    return status.error();
  return value;
}

Status CudaDevice::launchProbe(const char *kernel, uint64_t blocks,
                               void **arguments) {
  Function function = nullptr;
  if (Status status =
          check(driver.moduleGetFunction(&function, module, kernel), kernel);
      !status)
    return status;
  return check(driver.launch(function, static_cast<unsigned>(blocks), 1, 1,
                             abi::kProbeThreads, 1, 1, 0, stream, arguments,
                             nullptr),
               kernel);
}

Result<double> CudaDevice::time(const std::function<Status()> &work) {
  if (Status status = reserveEvents(2); !status)
    return status.error();
  if (Status status = record(0); !status)
    return status.error();
  if (Status status = work(); !status)
    return status.error();
  if (Status status = record(1); !status)
    return status.error();
  if (Status status = check(driver.streamSynchronize(stream), "a measurement");
      !status)
    return status.error();
  return secondsBetween(0, 1);
}

Result<double> CudaDevice::measure(abi::DeviceLimit limit) {
  switch (limit) {
  case abi::kReadLimit:
    return readBytesPerSecond();
  case abi::kCopyLimit:
    return copyBytesPerSecond();
  case abi::kDotLimit:
    return operationsPerSecond();
  case abi::kLaunchLimit:
    return launchesPerSecond();
  }
  return Error{"GPU: there is no such limit"};
}

Result<uint64_t> CudaDevice::measuredBytes() const {
  const Result<int> cache = attribute(kL2Bytes);
  if (!cache)
    return cache.error();
  return static_cast<uint64_t>(*cache) * cacheMultiple;
}

Status CudaDevice::allocateScratch(Buffer &buffer, uint64_t bytes) {
  buffer.bytes = bytes;
  return check(driver.memAlloc(&buffer.address, bytes),
               "memory for a measurement");
}

Result<double> CudaDevice::readBytesPerSecond() {
  const Result<int> processors = attribute(kProcessors);
  if (!processors)
    return processors.error();
  const Result<uint64_t> least = measuredBytes();
  if (!least)
    return least.error();
  // The weights, where they are many more than the cache holds.
  Buffer scratch;
  if (weights.bytes < *least)
    if (Status status = allocateScratch(scratch, *least); !status)
      return status.error();
  const Buffer &from = scratch.address ? scratch : weights;
  const uint64_t blocks =
      static_cast<uint64_t>(*processors) * blocksPerProcessor;
  uint64_t bytes = std::max(from.bytes / blocks / abi::kReadBytes, uint64_t{1}) *
                   abi::kReadBytes;
  const uint64_t used = std::min(blocks, from.bytes / bytes);
  // No kernel of a phase leaves anything in the logits.
  void *arguments[] = {const_cast<Address *>(&from.address), &bytes,
                       &logits.address};
  const Result<double> seconds = time([&]() -> Status {
    for (int i = 0; i < passes; ++i)
      if (Status status = launchProbe(abi::kReadKernel, used, arguments);
          !status)
        return status;
    return {};
  });
  if (scratch.address)
    driver.memFree(scratch.address);
  if (!seconds)
    return seconds;
  return static_cast<double>(bytes * used) * passes / *seconds;
}

Result<double> CudaDevice::copyBytesPerSecond() {
  const Result<uint64_t> bytes = measuredBytes();
  if (!bytes)
    return bytes.error();
  Buffer from, to;
  Result<double> seconds = 0.0;
  if (Status status = allocateScratch(from, *bytes); !status)
    seconds = status.error();
  else if (Status status = allocateScratch(to, *bytes); !status)
    seconds = status.error();
  else
    seconds = time([&]() -> Status {
      for (int i = 0; i < passes; ++i)
        if (Status status = check(driver.copyOnDevice(to.address, from.address,
                                                      *bytes, stream),
                                  "a copy");
            !status)
          return status;
      return {};
    });
  for (const Buffer &buffer : {from, to})
    if (buffer.address)
      driver.memFree(buffer.address);
  if (!seconds)
    return seconds;
  return 2 * static_cast<double>(*bytes) * passes / *seconds;
}

Result<double> CudaDevice::operationsPerSecond() {
  const Result<int> processors = attribute(kProcessors);
  if (!processors)
    return processors.error();
  const uint64_t blocks =
      static_cast<uint64_t>(*processors) * blocksPerProcessor;
  uint64_t iterations = 64;
  void *arguments[] = {&iterations, &logits.address};
  while (true) {
    const Result<double> seconds = time([&] {
      return launchProbe(abi::kDotKernel, blocks, arguments);
    });
    if (!seconds)
      return seconds;
    if (*seconds >= dotSeconds || iterations >= uint64_t{1} << 30)
      return 2 * static_cast<double>(image->dotMacs * blocks * iterations) /
             *seconds;
    iterations *= 4;
  }
}

} // namespace sputnik::rt::cuda
