//===- CudaDecoding.cpp - Steps ahead of the host -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A step of decoding and the choice of its token are one graph, which finds the
// token and its position in the device's memory and leaves there those of the
// next step. So the host launches it again and again, and reads tokens from
// memory of its own, where the device writes them as they come.
//
//===----------------------------------------------------------------------===//
#include "runtime/gpu/CudaDevice.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace sputnik::rt::cuda {

Status CudaDevice::copy(const Buffer &to, const void *from, uint64_t bytes) {
  return check(driver.copyToDevice(to.address, from, bytes, stream),
               "decoding");
}

Status CudaDevice::beginDecoding(const abi::DecodeStart &start) {
  Address address = 0;
  if (Status status = check(driver.hostAddress(&address, ring, 0), "decoding");
      !status)
    return status;
  std::fill_n(ring, abi::kMaxStepsAhead, abi::SampledToken());
  tokensRead = 0;
  abi::Sampling state = start.sampling;
  state.steps = 0;
  state.ring = reinterpret_cast<abi::SampledToken *>(address);
  state.ringMask = abi::kMaxStepsAhead - 1;
  const int32_t row[kIndices] = {start.token, start.slot, start.position, 0};
  for (int i = 0; i < kIndices; ++i)
    if (Status status = copy(indices[i], &row[i], sizeof(row[i])); !status)
      return status;
  if (Status status = copy(sampling, &state, sizeof(state)); !status)
    return status;
  if (Status status = check(driver.streamSynchronize(stream), "decoding");
      !status)
    return status;
  if (decodeGraph)
    return {};
  return capture(decodeGraph, {&decodePhase, &sample}, 1, 1);
}

Status CudaDevice::decode() {
  return check(driver.graphLaunch(decodeGraph, stream), "a step");
}

Result<abi::SampledToken> CudaDevice::nextToken() {
  abi::SampledToken &entry = ring[tokensRead % abi::kMaxStepsAhead];
  const auto isThere = [&] {
    return std::atomic_ref(entry.number).load(std::memory_order_acquire) ==
           tokensRead + 1;
  };
  while (!isThere()) {
    const Code code = driver.streamQuery(stream);
    if (code == kNotReady)
      std::this_thread::yield();
    else if (Status status = check(code, "a step"); !status)
      return status.error();
    else if (!isThere())
      return SPUTNIK_ERROR("GPU: a step has ended without a token");
  }
  ++tokensRead;
  return entry;
}

Status CudaDevice::endDecoding() {
  return check(driver.streamSynchronize(stream), "a step");
}

} // namespace sputnik::rt::cuda
