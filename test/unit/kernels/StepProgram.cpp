//===- StepProgram.cpp - Runs the steps of a kernel under test ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linked with the code of a graph, for machines that are emulated:
//
//   StepProgram WEIGHTS LOGITS ROWS THREADS
//
// runs tokens 0..ROWS-1 at positions 0..ROWS-1 through decode, verify and
// prefill, each with an empty cache, and writes the logits of all three.
//
//===----------------------------------------------------------------------===//

#include "runtime/Abi.h"
#include "runtime/Cpus.h"
#include "runtime/Files.h"
#include "runtime/Mapping.h"
#include "runtime/ThreadPool.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

using namespace sputnik;

template <typename T> static T check(rt::Result<T> result) {
  if (result)
    return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

static rt::Mapping zeros(uint64_t bytes) {
  return check(rt::Mapping::anonymous(std::max<uint64_t>(bytes, 1), "a step"));
}

static void run(const abi::Phase &phase, rt::ThreadPool &pool, int64_t threads,
                const uint8_t *weights, int64_t rows, float *logits) {
  const rt::Mapping arena = zeros(
      phase.arenaBytes + static_cast<uint64_t>(threads) * phase.scratchBytes);
  const rt::Mapping cache = zeros(sputnik_model.cacheBytes);
  uint8_t *const caches[] = {cache.data()};
  abi::Barrier barrier = {};
  for (int64_t first = 0; first < rows; first += phase.maxRows) {
    const int64_t count = std::min(phase.maxRows, rows - first);
    std::vector<int32_t> tokens(static_cast<size_t>(count)),
        slots(static_cast<size_t>(count)), outputs(static_cast<size_t>(count));
    std::iota(tokens.begin(), tokens.end(), static_cast<int32_t>(first));
    std::iota(outputs.begin(), outputs.end(), 0);
    const abi::Step step = {
        .tokens = tokens.data(),
        .slots = slots.data(),
        .positions = tokens.data(),
        .outputs = outputs.data(),
        .logits = logits + first * sputnik_model.vocabSize,
        .rows = count,
        .numOutputs = count,
        .weights = weights,
        .arena = arena.data(),
        .caches = caches,
        .barrier = &barrier,
        .profile = nullptr,
        .observed = nullptr,
    };
    pool.parallel([&](int64_t thread, int64_t of) {
      phase.run(&step, thread, of);
    });
  }
}

int main(int argc, char **argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s WEIGHTS LOGITS ROWS THREADS\n", argv[0]);
    return 2;
  }
  const rt::Mapping file = check(rt::Mapping::file(argv[1]));
  const int64_t rows = std::atoll(argv[3]), threads = std::atoll(argv[4]);
  const auto pool =
      check(rt::ThreadPool::create(threads, rt::Cpus::available()));
  const auto size = static_cast<size_t>(rows * sputnik_model.vocabSize);
  std::vector<float> logits(3 * size);
  float *out = logits.data();
  for (const abi::Phase *phase : {&sputnik_model.decode, &sputnik_model.verify,
                                  &sputnik_model.prefill}) {
    run(*phase, *pool, threads, file.data(), rows, out);
    out += size;
  }
  auto output = check(rt::OutputFile::create(argv[2]));
  if (!output.write({reinterpret_cast<const char *>(logits.data()),
                     logits.size() * sizeof(float)}) ||
      !output.commit())
    return 1;
  return 0;
}
