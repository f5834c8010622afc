//===- WeightCopies.h - Random weights beyond the caches --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_BENCHMARKS_WEIGHTCOPIES_H
#define SPUTNIK_BENCHMARKS_WEIGHTCOPIES_H

#include "benchmarks/StepRunner.h"

namespace sputnik {

/// Copies of a model's random weights, together larger than the last cache: a
/// benchmark that goes from one to the next reads from memory, as decode does.
class WeightCopies {
public:
  /// Errors: there is not enough memory.
  static llvm::Expected<WeightCopies> create(const abi::Model &model,
                                             rt::ThreadPool &pool);

  /// The weights for the next step.
  const uint8_t *next();

  const uint8_t *data() const { return memory.data(); }
  uint64_t size() const { return memory.size(); }

private:
  WeightCopies(rt::Mapping memory, uint64_t imageBytes)
      : memory(std::move(memory)), imageBytes(imageBytes) {}

  rt::Mapping memory;
  uint64_t imageBytes, at = 0;
};

} // namespace sputnik

#endif // SPUTNIK_BENCHMARKS_WEIGHTCOPIES_H
