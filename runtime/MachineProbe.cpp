//===- MachineProbe.cpp - The machine's bounds ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/MachineProbe.h"
#include "runtime/Clock.h"

#include <atomic>
#include <cstring>

namespace sputnik::rt {

/// How long one measurement of the dot instruction takes at least.
static constexpr uint64_t dotNanoseconds = 50'000'000;

Result<MachineProbe>
MachineProbe::create(const abi::Model &model, ThreadPool &pool,
                     const uint8_t *weights, uint64_t weightBytes,
                     std::span<const abi::WeightShare> shares) {
  constexpr uint64_t page = WeightPages::pageBytes;
  WeightPages pages(shares, weightBytes / page * page);
  Mapping buffer;
  if (weightBytes < smallestBytes) {
    Result<Mapping> memory =
        Mapping::anonymous(smallestBytes, "the bandwidth measurement");
    if (!memory)
      return memory.error();
    buffer = std::move(*memory);
    preferLargePages(buffer.data(), smallestBytes);
    pages = WeightPages({}, smallestBytes);
    // Untouched pages would all be one page of zeros in the cache.
    pool.parallel([&](int64_t thread, int64_t threads) {
      pages.forOwn(thread, threads, [&](uint64_t from, uint64_t to) {
        std::memset(buffer.data() + from, 1, to - from);
      });
    });
    weights = buffer.data();
  }
  MachineProbe probe(model, pool, std::move(buffer), weights, std::move(pages));
  probe.calibrate();
  return probe;
}

/// Finds how many iterations take long enough to be timed.
void MachineProbe::calibrate() {
  while (iterations < uint64_t{1} << 40) {
    const uint64_t start = monotonicNanoseconds();
    model->probeDot(iterations);
    if (monotonicNanoseconds() - start >= dotNanoseconds)
      return;
    iterations *= 2;
  }
}

double MachineProbe::readBytesPerSecond() const {
  std::atomic<uint64_t> kept = 0;
  const uint64_t start = monotonicNanoseconds();
  pool->parallel([&](int64_t thread, int64_t threads) {
    pages.forOwn(thread, threads, [&](uint64_t from, uint64_t to) {
      kept += model->probeRead(begin + from, to - from);
    });
  });
  return static_cast<double>(pages.size()) * 1e9 /
         static_cast<double>(monotonicNanoseconds() - start);
}

double MachineProbe::dotOperationsPerSecond() const {
  std::atomic<uint64_t> done = 0;
  const uint64_t start = monotonicNanoseconds();
  pool->parallel(
      [&](int64_t, int64_t) { done += model->probeDot(iterations); });
  return 2 * static_cast<double>(done.load()) * 1e9 /
         static_cast<double>(monotonicNanoseconds() - start);
}

} // namespace sputnik::rt
