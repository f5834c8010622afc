//===- StepRunner.h - Steps of a loaded graph
//-------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_BENCHMARKS_STEPRUNNER_H
#define SPUTNIK_BENCHMARKS_STEPRUNNER_H

#include "runtime/Abi.h"
#include "runtime/Mapping.h"
#include "runtime/ThreadPool.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <vector>

namespace sputnik {

/// Token rows of one step, as abi::Step takes them.
struct StepRows {
  std::vector<int32_t> tokens, slots, positions, outputs;

  /// Rows with tokens 0..count-1 of slot 0, at the positions from `first` on.
  /// All are outputs, or only the last.
  static StepRows sequence(int64_t count, int64_t first = 0,
                           bool allOutputs = true);
};

/// Zero-filled memory in large pages. Errors: there is not as much.
llvm::Expected<rt::Mapping> allocateMemory(uint64_t bytes, const char *what);

/// Threads, activations and caches for the steps of one model. The weights are
/// an argument of a step: a benchmark goes from one copy to the next.
class StepRunner {
public:
  /// Every slot has a cache of its own.
  static llvm::Expected<std::unique_ptr<StepRunner>>
  create(const abi::Model &model, int64_t threads, int64_t slots = 1);

  /// Runs one step in `phase`, one of the model's. `logits` has room for
  /// rows.outputs times model.vocabSize; `profile`, of every thread, may be
  /// null.
  void run(const abi::Phase &phase, const StepRows &rows,
           const uint8_t *weights, float *logits,
           abi::ThreadProfile *profile = nullptr);

  /// The same with weights of its own for each thread.
  void run(const abi::Phase &phase, const StepRows &rows,
           llvm::ArrayRef<const uint8_t *> weights, float *logits,
           abi::ThreadProfile *profile = nullptr);

  rt::ThreadPool &pool() { return *threadPool; }
  /// The activations of a step; zero until one writes them.
  uint8_t *activations() { return arena.data(); }
  /// The cache of a slot, model.cacheBytes.
  uint8_t *cache(int64_t slot) { return pointers[static_cast<size_t>(slot)]; }

private:
  StepRunner() = default;

  std::unique_ptr<rt::ThreadPool> threadPool;
  rt::Mapping arena, caches;
  std::vector<uint8_t *> pointers;
  abi::Barrier barrier = {};
};

} // namespace sputnik

#endif // SPUTNIK_BENCHMARKS_STEPRUNNER_H
