//===- MachineProbe.cpp - The machine's bounds ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/MachineProbe.h"
#include "runtime/Clock.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace sputnik::rt {

static constexpr uint64_t pageBytes = 4096;
/// How long one measurement of the dot instruction takes at least.
static constexpr uint64_t dotNanoseconds = 50'000'000;

Result<MachineProbe> MachineProbe::create(const abi::Model &model,
                                          ThreadPool &pool,
                                          const uint8_t *weights,
                                          uint64_t weightBytes) {
  Mapping buffer;
  const uint8_t *begin = weights;
  uint64_t bytes = weightBytes / pageBytes * pageBytes;
  if (bytes < smallestBytes) {
    Result<Mapping> memory =
        Mapping::anonymous(smallestBytes, "the bandwidth measurement");
    if (!memory)
      return memory.error();
    buffer = std::move(*memory);
    preferLargePages(buffer.data(), smallestBytes);
    // Untouched pages would all be one page of zeros in the cache.
    std::memset(buffer.data(), 1, smallestBytes);
    begin = buffer.data();
    bytes = smallestBytes;
  }
  MachineProbe probe(model, pool, std::move(buffer), begin, bytes);
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
  const uint64_t pages = bytes / pageBytes;
  std::atomic<uint64_t> kept = 0;
  const uint64_t start = monotonicNanoseconds();
  pool->parallel([&](int64_t thread, int64_t threads) {
    const auto part = static_cast<uint64_t>(thread);
    const auto parts = static_cast<uint64_t>(threads);
    const uint64_t from = pages / parts * part + std::min(pages % parts, part);
    const uint64_t to =
        pages / parts * (part + 1) + std::min(pages % parts, part + 1);
    if (from < to)
      kept += model->probeRead(begin + from * pageBytes,
                                        (to - from) * pageBytes);
  });
  return static_cast<double>(bytes) * 1e9 /
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
