//===- CudaDevice.h - A model on an NVIDIA GPU ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_GPU_CUDADEVICE_H
#define SPUTNIK_RUNTIME_GPU_CUDADEVICE_H

#include "runtime/Abi.h"
#include "runtime/gpu/CudaDriver.h"

#include <memory>
#include <vector>

namespace sputnik::rt::cuda {

/// The weights, caches, activations and kernels of a model on the first GPU.
class CudaDevice {
public:
  /// Fails where there is no driver, no GPU, no kernels for it or too little
  /// memory.
  static Result<std::unique_ptr<CudaDevice>>
  open(const abi::Model &model, const uint8_t *weights, int64_t slots);
  ~CudaDevice();

  /// Runs one step; logits are in step.logits when it returns.
  Status step(const abi::Step &step);

private:
  /// Memory of the device.
  struct Buffer {
    Address address = 0;
    uint64_t bytes = 0;
  };
  /// The kernels of one phase, in order.
  struct Phase {
    int64_t maxRows = 0;
    const abi::KernelPhase *plan = nullptr;
    std::vector<Function> functions;
    /// Of a step that wants one row of logits.
    GraphExec graph = nullptr;
  };
  static constexpr int kIndices = 4; ///< tokens, slots, positions, outputs.

  CudaDevice(const Driver &driver, const abi::Model &model)
      : driver(driver), model(model) {}
  Status choose();
  Status loadKernels();
  Status load(Phase &phase, const abi::KernelPhase &plan, int64_t maxRows);
  Status allocate(Buffer &buffer, uint64_t bytes);
  Status allocateAll(int64_t slots);
  Status upload(const uint8_t *weights);
  Status launch(const Phase &phase, uint32_t rows, uint32_t outputs);
  Status capture(Phase &phase);
  Status growLogits(uint64_t rows);
  Status check(Code code, const char *what) const {
    return driver.check(code, what);
  }

  const Driver driver;
  const abi::Model &model;
  Device device = 0;
  std::string deviceName;
  int capability = 0;
  Context context = nullptr;
  Stream stream = nullptr;
  Module module = nullptr;
  const abi::KernelImage *image = nullptr;
  Phase decode, verify, prefill;
  Buffer indices[kIndices], logits, weights, arena, cachePointers;
  std::vector<Buffer> caches;
  uint64_t needed = 0;
};

} // namespace sputnik::rt::cuda

#endif // SPUTNIK_RUNTIME_GPU_CUDADEVICE_H
