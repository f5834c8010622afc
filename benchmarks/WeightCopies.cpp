//===- WeightCopies.cpp - Random weights beyond the caches ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "benchmarks/WeightCopies.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace sputnik;
using llvm::Expected;

/// All copies have at least this many bytes.
static constexpr uint64_t kSmallestBytes = uint64_t{256} << 20;

Expected<WeightCopies> WeightCopies::create(const abi::Model &model,
                                            rt::ThreadPool &pool) {
  const uint64_t imageBytes =
      llvm::alignTo(std::max<uint64_t>(model.weightBytes, 1), 4096);
  Expected<rt::Mapping> memory = allocateMemory(
      llvm::divideCeil(kSmallestBytes, imageBytes) * imageBytes, "the weights");
  if (!memory)
    return memory.takeError();
  pool.parallel([&](int64_t thread, int64_t count) {
    const auto part = [&](int64_t i) {
      return memory->size() / 64 * static_cast<uint64_t>(i) /
             static_cast<uint64_t>(count) * 64;
    };
    model.fillRandom(memory->data(), part(thread), part(thread + 1), 0);
  });
  return WeightCopies(std::move(*memory), imageBytes);
}

const uint8_t *WeightCopies::next() {
  at = at + imageBytes < memory.size() ? at + imageBytes : 0;
  return memory.data() + at;
}
