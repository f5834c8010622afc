//===- StepRunner.cpp - Steps of a loaded graph
//-----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "benchmarks/StepRunner.h"

#include <algorithm>
#include <numeric>

using namespace sputnik;
using llvm::Expected;

StepRows StepRows::sequence(int64_t count, int64_t first, bool allOutputs) {
  const auto size = static_cast<size_t>(count);
  StepRows rows;
  rows.tokens.resize(size);
  std::iota(rows.tokens.begin(), rows.tokens.end(), 0);
  rows.slots.resize(size);
  rows.positions.resize(size);
  std::iota(rows.positions.begin(), rows.positions.end(),
            static_cast<int32_t>(first));
  if (allOutputs)
    rows.outputs = rows.tokens;
  else
    rows.outputs = {static_cast<int32_t>(count - 1)};
  return rows;
}

Expected<rt::Mapping> sputnik::allocateMemory(uint64_t bytes,
                                              const char *what) {
  rt::Result<rt::Mapping> memory = rt::Mapping::anonymous(bytes, what);
  if (!memory)
    return llvm::createStringError(memory.error().message);
  rt::preferLargePages(memory->data(), bytes);
  return std::move(*memory);
}

Expected<std::unique_ptr<StepRunner>>
StepRunner::create(const abi::Model &model, int64_t threads, int64_t slots) {
  std::unique_ptr<StepRunner> runner(new StepRunner());
  rt::Result<std::unique_ptr<rt::ThreadPool>> pool =
      rt::ThreadPool::create(threads, rt::Cpus::available());
  if (!pool)
    return llvm::createStringError(pool.error().message);
  runner->threadPool = std::move(*pool);

  uint64_t arenaBytes = 0;
  for (const abi::Phase *phase : {&model.decode, &model.verify, &model.prefill,
                                   &model.draftVerify, &model.draftPrefill})
    arenaBytes = std::max(arenaBytes,
                          phase->arenaBytes + static_cast<uint64_t>(threads) *
                                                  phase->scratchBytes);
  Expected<rt::Mapping> arena =
      allocateMemory(std::max<uint64_t>(arenaBytes, 1), "the activations");
  if (!arena)
    return arena.takeError();
  runner->arena = std::move(*arena);

  Expected<rt::Mapping> caches = allocateMemory(
      model.cacheBytes * static_cast<uint64_t>(slots), "the caches");
  if (!caches)
    return caches.takeError();
  runner->caches = std::move(*caches);
  for (int64_t slot = 0; slot < slots; ++slot)
    runner->pointers.push_back(runner->caches.data() +
                               model.cacheBytes * static_cast<uint64_t>(slot));
  return runner;
}

void StepRunner::run(const abi::Phase &phase, const StepRows &rows,
                     const uint8_t *weights, float *logits,
                     abi::ThreadProfile *profile) {
  run(phase, rows,
      std::vector<const uint8_t *>(static_cast<size_t>(threadPool->size()),
                                   weights),
      logits, profile);
}

void StepRunner::run(const abi::Phase &phase, const StepRows &rows,
                     llvm::ArrayRef<const uint8_t *> weights, float *logits,
                     abi::ThreadProfile *profile) {
  const abi::Step step = {
      .tokens = rows.tokens.data(),
      .slots = rows.slots.data(),
      .positions = rows.positions.data(),
      .outputs = rows.outputs.data(),
      .logits = logits,
      .rows = static_cast<int64_t>(rows.tokens.size()),
      .numOutputs = static_cast<int64_t>(rows.outputs.size()),
      .weights = nullptr,
      .arena = arena.data(),
      .caches = pointers.data(),
      .barrier = &barrier,
      .profile = profile,
      .observed = nullptr,
  };
  threadPool->parallel([&](int64_t thread, int64_t threads) {
    abi::Step own = step;
    own.weights = weights[static_cast<size_t>(thread)];
    phase.run(&own, thread, threads);
  });
}
