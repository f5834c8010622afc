//===- Engine.h - Runs the phases of a model ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_ENGINE_H
#define SPUTNIK_RUNTIME_ENGINE_H

#include "runtime/Abi.h"
#include "runtime/Image.h"
#include "runtime/KvCache.h"
#include "runtime/Mapping.h"
#include "runtime/Result.h"
#include "runtime/ThreadPool.h"

#include <cstdint>
#include <memory>
#include <span>

namespace sputnik::rt {

/// An executable's model and where it keeps its weights.
struct Program {
  const abi::Model &model;
  const uint8_t *embeddedImage;
  uint64_t startNanoseconds; ///< When the process began, monotonic clock.
};

/// What of the machine an engine uses.
struct Resources {
  int64_t threads = 0; ///< 0: one for each core.
  /// Where the cores are of several nodes (NUMA): whether threads keep to nodes,
  /// and weights are copied to the nodes of the threads that read them, if there
  /// is memory for it.
  bool numa = true;
};

/// Token rows of one step. All spans but `outputs` have one element for each
/// row.
struct Rows {
  std::span<const int32_t> tokens;
  std::span<const int32_t> slots;
  std::span<const int32_t> positions;
  /// Rows whose logits are wanted, ascending.
  std::span<const int32_t> outputs;
  /// [outputs.size(), vocabSize], written.
  float *logits = nullptr;
};

/// A model ready to run: weights, threads, activations and the caches of its
/// slots. Steps are made one after the other.
class Engine {
public:
  /// Slots are the conversations that can be kept at once.
  static Result<std::unique_ptr<Engine>>
  create(const Program &program, const Resources &resources, int64_t slots = 1);
  ~Engine();
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;

  /// Runs one step of at least 1 and at most maxRows() rows, in the phase for
  /// that many. Fails on ids, slots or positions that do not exist.
  Status forward(const Rows &rows);

  /// Runs one step of the model's draft head, over the states that the last
  /// step left, row by row: a row has the token after the one that its state
  /// was made of, and that one's slot and position; its logits tell the token
  /// after it. Fails as `forward`. The model must have a draft head.
  Status draft(const Rows &rows);
  /// Copies the state of row `from` to row `to`, both of the last step.
  Status moveState(int64_t from, int64_t to);

  /// Whether the model's device samples tokens itself, so that steps of one row
  /// need not wait for the host. Steps whose times are noted do.
  bool decodesAhead() const { return device && !profile; }
  /// See abi::Accelerator. Fails on a token, slot or position that does not exist.
  Status beginDecoding(const abi::DecodeStart &start);
  Status decode();
  Result<abi::SampledToken> nextToken();
  Status endDecoding();

  /// From now on steps note the times of regions in `profile`, for pool().size()
  /// threads; null: nowhere. Of use only where the model has regions.
  void setProfile(abi::ThreadProfile *newProfile) { profile = newProfile; }

  /// From now on steps add what they observe to `records`, of
  /// Model::observedBytes; null: nothing.
  void setObserved(uint8_t *records) { observed = records; }

  /// What runs the steps, if it is not this machine's cores; null if it is.
  const char *deviceName() const;
  /// What that device can do at most.
  Result<double> measureDevice(abi::DeviceLimit limit);

  const abi::Model &model() const { return program.model; }
  ThreadPool &pool() const { return *threadPool; }
  KvCache &cache() { return kvCache; }
  /// Null for random weights of a device.
  const uint8_t *weights() const { return image.weights(); }
  /// The nodes that weights are shared out to; 1 if they are not.
  int64_t weightNodes() const { return placedNodes; }
  int64_t maxRows() const { return rowLimit; }

private:
  explicit Engine(const Program &program) : program(program) {}
  Status openWeights();
  Status run(abi::StepKind kind, const abi::Phase &phase, const Rows &rows);
  Status checkRow(int32_t token, int32_t slot, int32_t position) const;

  const Program program;
  std::unique_ptr<ThreadPool> threadPool;
  Image image;
  KvCache kvCache;
  Mapping arena;
  int64_t rowLimit = 1;
  int64_t placedNodes = 1;
  abi::Barrier barrier = {};
  abi::ThreadProfile *profile = nullptr;
  uint8_t *observed = nullptr;
  void *device = nullptr; ///< Of the model's accelerator.
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_ENGINE_H
