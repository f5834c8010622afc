//===- EmulatedGraph.h - A graph as kernels in the emulator -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_GPU_EMULATEDGRAPH_H
#define SPUTNIK_TEST_UNIT_GPU_EMULATEDGRAPH_H

#include "benchmarks/StepRunner.h"
#include "codegen/gpu/LowerRegions.h"
#include "codegen/gpu/emulator/Emulator.h"

namespace sputnik::testing {

/// What a GPU executable would hold, run by the emulator.
class EmulatedGraph {
public:
  struct Options {
    r1::Scheme scheme = r1::Scheme::F32;
    int64_t prefillRows = 256;
    std::string chip = "sm_90a";
    int64_t processors = 0; ///< Multiprocessors; 0: as many as the chip has.
  };

  /// Takes `module`, a graph as the importer writes it, through r1-pipeline for
  /// the chip and makes kernels. The module is left as the pipeline makes it.
  static llvm::Expected<std::unique_ptr<EmulatedGraph>>
  create(mlir::ModuleOp module, const Options &options);

  uint64_t weightBytes() const { return bytesOfWeights; }
  int64_t vocabulary() const { return vocabularySize; }
  /// Phases are called as their functions.
  int64_t maxRows(llvm::StringRef phase) const;

  /// Fresh activations, and for each conversation a cache of NaNs.
  void reset(uint64_t seed, int64_t conversations = 1);
  /// One step. `logits` has room for rows.outputs times vocabulary().
  llvm::Error run(llvm::StringRef phase, StepRows rows,
                  std::vector<uint8_t> &weights, float *logits);

private:
  EmulatedGraph() = default;
  const gpu::PhasePlan &plan(llvm::StringRef phase) const;

  std::unique_ptr<gpu::Emulator> emulator;
  std::vector<gpu::PhasePlan> plans;
  uint64_t bytesOfWeights = 0, cacheBytes = 0;
  int64_t vocabularySize = 0;
  bool startsEarly = false;
  std::vector<uint8_t> arena, cache;
};

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_GPU_EMULATEDGRAPH_H
