//===- CudaProfile.cpp - When kernels ran ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The device notes the time before and after each kernel. Launches come one by
// one then, not as a graph; so that it waits for none of them, a kernel that
// takes long is there first.
//
//===----------------------------------------------------------------------===//
#include "runtime/Clock.h"
#include "runtime/gpu/CudaDevice.h"

namespace sputnik::rt::cuda {

/// Iterations of the kernel that the others wait for, for each of them: about
/// 10 us, longer than a launch takes.
static constexpr uint64_t delayPerLaunch = 64;

Status CudaDevice::reserveEvents(uint64_t count) {
  while (events.size() < count) {
    Event event = nullptr;
    if (Status status = check(driver.eventCreate(&event, 0), "a clock");
        !status)
      return status;
    events.push_back(event);
  }
  return {};
}

Status CudaDevice::delay(uint64_t launches) {
  uint64_t iterations = launches * delayPerLaunch;
  void *arguments[] = {&iterations, &logits.address};
  return launchProbe(abi::kDotKernel, 1, arguments);
}

Result<double> CudaDevice::secondsBetween(uint64_t from, uint64_t to) const {
  float milliseconds = 0;
  if (Status status = check(
          driver.eventElapsed(&milliseconds, events[from], events[to]),
          "a clock");
      !status)
    return status.error();
  return static_cast<double>(milliseconds) * 1e-3;
}

Status CudaDevice::record(uint64_t event) {
  return check(driver.eventRecord(events[event], stream), "a clock");
}

Status CudaDevice::launchNoting(const Phase &phase, uint32_t rows,
                                uint32_t outputs,
                                abi::ThreadProfile &profile) {
  const uint64_t count = phase.plan->count;
  if (Status status = reserveEvents(count + 1); !status)
    return status;
  if (Status status = delay(count); !status)
    return status;
  if (Status status = record(0); !status)
    return status;
  for (uint64_t i = 0; i < count; ++i) {
    if (Status status = launchOne(phase, i, rows, outputs); !status)
      return status;
    if (Status status = record(i + 1); !status)
      return status;
  }
  if (Status status = check(driver.streamSynchronize(stream), "a step");
      !status)
    return status;
  const uint64_t now = monotonicNanoseconds();
  const Result<double> all = secondsBetween(0, count);
  if (!all)
    return all.error();
  const uint64_t start = now - static_cast<uint64_t>(*all * 1e9);
  uint64_t begin = start;
  for (uint64_t i = 0; i < count; ++i) {
    const Result<double> seconds = secondsBetween(0, i + 1);
    if (!seconds)
      return seconds.error();
    const abi::KernelLaunch &launch = phase.plan->launches[i];
    const uint64_t end = start + static_cast<uint64_t>(*seconds * 1e9);
    if (rowsOf(launch, rows, outputs))
      profile.times[profile.count++ & profile.mask] = {begin, end,
                                                       launch.region,
                                                       launch.layer};
    begin = end;
  }
  return {};
}

Result<double> CudaDevice::launchesPerSecond() {
  constexpr uint64_t launches = 64;
  if (Status status = reserveEvents(launches + 1); !status)
    return status.error();
  if (Status status = delay(launches); !status)
    return status.error();
  if (Status status = record(0); !status)
    return status.error();
  uint64_t bytes = 0;
  void *arguments[] = {&weights.address, &bytes, &logits.address};
  for (uint64_t i = 0; i < launches; ++i) {
    if (Status status = launchProbe(abi::kReadKernel, 1, arguments); !status)
      return status.error();
    if (Status status = record(i + 1); !status)
      return status.error();
  }
  if (Status status = check(driver.streamSynchronize(stream), "a measurement");
      !status)
    return status.error();
  const Result<double> seconds = secondsBetween(0, launches);
  if (!seconds)
    return seconds;
  return launches / *seconds;
}

} // namespace sputnik::rt::cuda
