//===- Compile.h - From a checkpoint to an executable -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TOOLS_COMPILE_H
#define SPUTNIK_TOOLS_COMPILE_H

#include "dialect/R1.h"
#include "passes/ObserveInputs.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace sputnik {

/// What `sputnik compile` stops at and writes.
enum class EmitKind { R1, Regions, LLVM, Assembly, Object, Executable };

/// Where the executable finds its weights.
enum class WeightsKind { Embed, Beside, Random };

struct CompileOptions {
  std::string model;  ///< Folder or GGUF file.
  std::string output; ///< `-` is standard output, for text and objects.
  std::string program; ///< Path of the running compiler, to find the runtime.
  std::string target = "native";
  /// NVIDIA's assembler, which makes machine code of kernels for GPUs; empty:
  /// none, PTX alone; if not given, the one that is installed.
  std::optional<std::string> ptxas;
  r1::Scheme scheme = r1::Scheme::Q4;
  /// Other schemes for some matrices, as the option of r1-encode-weights.
  std::vector<std::string> overrides;
  /// What the KV cache stores; f32 with weights in f32 if not given, else bf16.
  std::optional<r1::Scheme> kv;
  int64_t maxContext = 0; ///< 0: the model's.
  WeightsKind weights = WeightsKind::Embed;
  uint64_t seed = 0;
  int optLevel = 3;
  bool profile = false; ///< The executable can tell the times of regions.
  /// File of `sputnik calibrate` that weighs the errors of q4; empty: none.
  std::string importance;
  /// If given, the executable observes what matrices are multiplied with, and
  /// this says where its records are.
  std::vector<r1::Observation> *observations = nullptr;
  EmitKind emit = EmitKind::Executable;
  /// Where a report of the stored weights goes, as JSON if its name ends in
  /// `.json`; `-` is standard output. Only with stored weights.
  std::optional<std::string> report;
  std::string benchFolder; ///< With Regions: where benchmarks of them go.
  bool progress = false; ///< Show how far the weights are, on stderr.
  bool quiet = false;    ///< No summary on stderr.
  unsigned threads = 0;  ///< 0: as many as there are cores.
};

/// Compiles a model. An error is one line that names the file, tensor or key;
/// the output is then as it was before.
llvm::Error compileModel(const CompileOptions &options);

} // namespace sputnik

#endif // SPUTNIK_TOOLS_COMPILE_H
