//===- CudaDevice.h - A model on an NVIDIA GPU ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_GPU_CUDADEVICE_H
#define SPUTNIK_RUNTIME_GPU_CUDADEVICE_H

#include "runtime/Abi.h"
#include "runtime/gpu/CudaDriver.h"

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sputnik::rt::cuda {

/// The weights, caches, activations and kernels of a model on the first GPU.
class CudaDevice {
public:
  /// `weights` lie in the host's memory, or are null if they are random. Fails
  /// where there is no driver, no GPU, no kernels for it or too little memory.
  static Result<std::unique_ptr<CudaDevice>>
  open(const abi::Model &model, const uint8_t *weights, int64_t slots);
  ~CudaDevice();

  /// Runs one step; logits are in step.logits when it returns.
  Status step(abi::StepKind kind, const abi::Step &step);
  Status moveState(int64_t from, int64_t to);

  Result<double> measure(abi::DeviceLimit limit);
  const char *name() const { return deviceName.c_str(); }

  // Decoding with tokens that the device samples itself, see abi::Accelerator.
  Status beginDecoding(const abi::DecodeStart &start);
  Status decode();
  Result<abi::SampledToken> nextToken();
  Status endDecoding();

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
    /// Of steps of few rows, by the rows and those whose logits are wanted.
    std::map<std::pair<uint32_t, uint32_t>, GraphExec> graphs;
  };
  static constexpr int kIndices = 4; ///< tokens, slots, positions, outputs.

  CudaDevice(const Driver &driver, const abi::Model &model)
      : driver(driver), model(model) {}
  Status choose();
  Status loadKernels();
  /// Has the driver make machine code of the image's PTX.
  Status loadPtx();
  Status load(Phase &phase, const abi::KernelPhase &plan, int64_t maxRows);
  Status allocate(Buffer &buffer, uint64_t bytes);
  Status allocateAll(int64_t slots);
  Status fillWeights(const uint8_t *from);
  Status upload(const uint8_t *from);
  Status uploadThrough(std::span<void *> stages, const uint8_t *from);
  Status makeRandomWeights();
  /// Rows that a launch works on; it is left out where there are none.
  static uint32_t rowsOf(const abi::KernelLaunch &launch, uint32_t rows,
                         uint32_t outputs) {
    return launch.perOutput ? outputs : rows;
  }
  Status launch(const Phase &phase, uint32_t rows, uint32_t outputs);
  Status launchOne(const Phase &phase, uint64_t number, uint32_t rows,
                   uint32_t outputs);
  Phase &phaseOf(abi::StepKind kind, int64_t rows);
  /// Makes one graph of a step of each phase, so that the host launches once.
  Status capture(GraphExec &graph, std::initializer_list<const Phase *> phases,
                 uint32_t rows, uint32_t outputs);
  Status launchGraph(Phase &phase, uint32_t rows, uint32_t outputs);
  void dropGraphs();
  Status copy(const Buffer &to, const void *from, uint64_t bytes);
  uint64_t logitBytes(int64_t rows) const;
  Status growLogits(int64_t rows);

  // Measuring.
  Result<int> attribute(int which) const;
  /// Launches a kernel of kProbeThreads threads a block.
  Status launchProbe(const char *kernel, uint64_t blocks, void **arguments);
  /// Seconds of the device from where the stream is to where it is after
  /// `work`, which must add to it.
  Result<double> time(const std::function<Status()> &work);
  /// Of memory that caches do not hold.
  Result<uint64_t> measuredBytes() const;
  Status allocateScratch(Buffer &buffer, uint64_t bytes);
  Result<double> readBytesPerSecond();
  Result<double> copyBytesPerSecond();
  Result<double> operationsPerSecond();
  Result<double> launchesPerSecond();

  // Noting when kernels ran.
  Status reserveEvents(uint64_t count);
  /// Keeps the device busy while so many launches are made.
  Status delay(uint64_t launches);
  Status record(uint64_t event);
  /// Of the device, between two events that it has come to.
  Result<double> secondsBetween(uint64_t from, uint64_t to) const;
  /// As `launch`, and waits for the end.
  Status launchNoting(const Phase &phase, uint32_t rows, uint32_t outputs,
                      abi::ThreadProfile &profile);
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
  Phase decodePhase, verify, prefill, draftVerify, draftPrefill, sample;
  Buffer indices[kIndices], logits, weights, arena, cachePointers, sampling;
  std::vector<Buffer> caches;
  std::vector<Event> events;
  uint64_t needed = 0;
  // Of decoding.
  GraphExec decodeGraph = nullptr; ///< A step, and sampling after it.
  abi::SampledToken *ring = nullptr; ///< [kMaxStepsAhead], which the GPU writes.
  uint64_t tokensRead = 0;
};

} // namespace sputnik::rt::cuda

#endif // SPUTNIK_RUNTIME_GPU_CUDADEVICE_H
