//===- Calibrate.h - What a model's matrices are multiplied with *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TOOLS_CALIBRATE_H
#define SPUTNIK_TOOLS_CALIBRATE_H

#include "llvm/Support/Error.h"

#include <string>

namespace sputnik {

struct CalibrateOptions {
  std::string model;  ///< Folder or GGUF file.
  std::string text;   ///< File with text that the model reads.
  std::string output; ///< Where the importance goes.
  std::string program; ///< Path of the running compiler, to find the runtime.
  unsigned threads = 0; ///< 0: as many as there are cores.
};

/// Compiles the model to bf16 with code that sums up squares, lets that read the
/// text, and writes the mean square of each feature that each matrix is
/// multiplied with.
/// Errors: those of compileModel; one line of the executable, such as that the
/// text cannot be read; a text too short to be read at a time.
llvm::Error calibrateModel(const CalibrateOptions &options);

} // namespace sputnik

#endif // SPUTNIK_TOOLS_CALIBRATE_H
