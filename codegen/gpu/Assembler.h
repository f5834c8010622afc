//===- Assembler.h - From PTX to machine code -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_ASSEMBLER_H
#define SPUTNIK_CODEGEN_GPU_ASSEMBLER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace sputnik::gpu {

/// NVIDIA's assembler, ptxas. It is a program of CUDA, which need not be
/// installed where a model is compiled.
class Assembler {
public:
  /// The program at `path`. Fails if that cannot be run.
  static llvm::Expected<Assembler> open(llvm::StringRef path);
  /// The first ptxas on PATH, else in the folder bin of CUDA_HOME, CUDA_PATH or
  /// CUDA_ROOT; none if there is none.
  static std::optional<Assembler> find();

  /// Makes a cubin of `ptx` for `chip`, such as sm_90a. Threads may call it at
  /// the same time. Fails with one line of what the program says.
  llvm::Expected<std::string> assemble(llvm::StringRef ptx,
                                       llvm::StringRef chip) const;

private:
  explicit Assembler(llvm::StringRef path) : path(path) {}

  std::string path;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_ASSEMBLER_H
