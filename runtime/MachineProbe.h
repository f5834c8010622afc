//===- MachineProbe.h - The machine's bounds ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_MACHINEPROBE_H
#define SPUTNIK_RUNTIME_MACHINEPROBE_H

#include "runtime/Abi.h"
#include "runtime/Mapping.h"
#include "runtime/Result.h"
#include "runtime/ThreadPool.h"
#include "runtime/WeightPages.h"

#include <cstdint>

namespace sputnik::rt {

/// Measures, with the code that the compiler generated for it, what the machine
/// can do at most with all threads of a pool.
class MachineProbe {
public:
  /// Reads go over the weights when these have at least smallestBytes, else
  /// over a buffer of that size: in both cases more than caches hold. Each thread
  /// reads the pages that are its own by `shares`.
  static constexpr uint64_t smallestBytes = uint64_t{256} << 20;
  static Result<MachineProbe>
  create(const abi::Model &model, ThreadPool &pool, const uint8_t *weights,
         uint64_t weightBytes, std::span<const abi::WeightShare> shares = {});

  /// Bytes per second that one pass over the memory reads.
  double readBytesPerSecond() const;
  /// Operations per second of the dot instruction in use, a multiply-add
  /// counting as two.
  double dotOperationsPerSecond() const;

private:
  MachineProbe(const abi::Model &model, ThreadPool &pool, Mapping buffer,
               const uint8_t *begin, WeightPages pages)
      : model(&model), pool(&pool), buffer(std::move(buffer)), begin(begin),
        pages(std::move(pages)) {}
  void calibrate();

  const abi::Model *model;
  ThreadPool *pool;
  Mapping buffer;
  const uint8_t *begin;
  WeightPages pages; ///< Whole ones.
  uint64_t iterations = 1 << 12;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_MACHINEPROBE_H
