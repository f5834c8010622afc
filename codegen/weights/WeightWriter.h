//===- WeightWriter.h - Weight programs into the image ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_WEIGHTWRITER_H
#define SPUTNIK_CODEGEN_WEIGHTS_WEIGHTWRITER_H

#include "codegen/weights/Importance.h"
#include "codegen/weights/WeightReport.h"
#include "importer/Checkpoint.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <array>
#include <cstdint>
#include <functional>

namespace sputnik {

/// Where encoded weights go.
class WeightSink {
public:
  virtual ~WeightSink() = default;
  /// Stores `bytes` at `offset` as r1.placement counts it. Threads call this at
  /// the same time, for ranges that do not overlap.
  virtual llvm::Error write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) = 0;
};

struct WeightWriterOptions {
  /// 0 takes one for each processor.
  unsigned threads = 0;
  /// Called from any thread, one call at a time, `done` never falling.
  std::function<void(uint64_t done, uint64_t total)> progress;
  /// What errors of columns count in formats that choose by it, if given. Fits
  /// the layers and columns of every weight that it names.
  const Importance *importance = nullptr;
  /// Filled with an entry for each layer of each weight, if given.
  WeightReport *report = nullptr;
};

/// Identifies the content of an image.
using ContentId = std::array<uint8_t, 32>;

/// Runs the program of every r1.derived that has a placement, for each layer,
/// and writes its encoded value to `sink`; gaps between weights are not
/// written. Bytes, identity and report do not depend on the number of threads; memory
/// does not depend on the size of the model.
/// Errors: those of the sink, of WeightProgram, and a value that its encoding
/// cannot store. Of several, the one that the image's order puts first.
llvm::Expected<ContentId> writeWeights(mlir::ModuleOp module,
                                       const Checkpoint &checkpoint,
                                       WeightSink &sink,
                                       const WeightWriterOptions &options = {});

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_WEIGHTWRITER_H
