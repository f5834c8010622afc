//===- CudaWeights.cpp - How weights come to a GPU ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Mapping.h"
#include "runtime/gpu/CudaDevice.h"

#include <algorithm>
#include <cstring>

namespace sputnik::rt::cuda {

/// Weights go over in pieces, by way of memory that the device reads by itself:
/// the host reads the next piece while one is under way.
static constexpr uint64_t pieceBytes = 32 << 20;
static constexpr size_t stageCount = 3;

Status CudaDevice::fillWeights(const uint8_t *from) {
  return model.weightSource == abi::kRandom ? makeRandomWeights()
                                            : upload(from);
}

Status CudaDevice::upload(const uint8_t *from) {
  void *stages[stageCount] = {};
  const uint64_t bytes = std::min(pieceBytes, model.weightBytes);
  Status status;
  for (void *&stage : stages)
    if (status)
      status = check(driver.hostAlloc(&stage, bytes, 0),
                     "memory to take the weights over");
  if (status)
    status = uploadThrough(stages, from);
  for (void *stage : stages)
    if (stage)
      driver.hostFree(stage);
  return status;
}

Status CudaDevice::uploadThrough(std::span<void *> stages,
                                 const uint8_t *from) {
  if (Status status = reserveEvents(stages.size()); !status)
    return status;
  uint64_t piece = 0;
  for (uint64_t done = 0; done < model.weightBytes; ++piece) {
    const size_t stage = piece % stages.size();
    const uint64_t bytes = std::min(pieceBytes, model.weightBytes - done);
    if (piece >= stages.size())
      if (Status status =
              check(driver.eventSynchronize(events[stage]), "the weights");
          !status)
        return status;
    std::memcpy(stages[stage], from + done, bytes);
    // They stay mapped, but take up no memory here any more.
    dropPages(from + done, bytes);
    if (Status status =
            check(driver.copyToDevice(weights.address + done, stages[stage],
                                      bytes, stream),
                  "the weights");
        !status)
      return status;
    if (Status status = record(stage); !status)
      return status;
    done += bytes;
  }
  return check(driver.streamSynchronize(stream), "the weights");
}

Status CudaDevice::makeRandomWeights() {
  uint64_t bytes = weights.bytes, seed = model.seed;
  void *arguments[] = {&weights.address, &bytes, &seed};
  if (Status status = launchProbe(
          abi::kFillKernel, (bytes + abi::kFillBytes - 1) / abi::kFillBytes,
          arguments);
      !status)
    return status;
  return check(driver.streamSynchronize(stream), "the random weights");
}

} // namespace sputnik::rt::cuda
