//===- ModelObject.h - The object file of a model ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_MODELOBJECT_H
#define SPUTNIK_CODEGEN_CPU_MODELOBJECT_H

#include "codegen/cpu/Work.h"
#include "dialect/R1.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/Abi.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

#include <array>
#include <string>
#include <vector>

namespace sputnik::cpu {

/// What becomes an abi::KernelLaunch.
struct KernelLaunch {
  std::string kernel;
  uint32_t blocks, threads, rowTile;
  bool perOutput;
  uint32_t sharedBytes, layer;
  uint32_t region; ///< Index into KernelImage::regions.
};

/// What becomes an abi::KernelImage.
struct KernelImage {
  std::string chip;
  unsigned capability;
  bool onlyThis, dependent;
  std::string ptx;
  std::string cubin; ///< Machine code; empty if there is none.
  uint64_t arenaBytes = 0, stateOffset = 0, dotMacs = 0;
  std::vector<RegionWork> regions; ///< One for each kernel of a phase.
  /// Decode, verify, prefill; verify and prefill of a draft head, if there is
  /// one; the sampling of a token.
  std::array<std::vector<KernelLaunch>, 6> phases;
};

/// What goes into abi::Model beside the code.
struct ModelDescription {
  abi::WeightSource weightSource = abi::kEmbedded;
  std::array<uint8_t, abi::kImageIdBytes> imageId = {};
  uint64_t seed = 0;
  llvm::StringRef tokenizer; ///< Tokenizer blob; may be empty.
  llvm::StringRef info;      ///< JSON.
  /// Whether the code notes the times of regions for abi::Step::profile.
  bool profile = false;
  /// Bytes of records that the code adds to, 0 if it observes nothing.
  uint64_t observedBytes = 0;
  /// Kernels that take the place of the phases' code. The machine that launches
  /// them is `host`; without kernels it is the module's target.
  llvm::ArrayRef<KernelImage> kernels;
  r1::TargetAttr host;
  /// Whether the code may be loaded at any address, as into a running process.
  bool positionIndependent = false;
};

/// Forms of output, in the order in which they come to be.
enum class CodeForm { LLVM, Assembly, Object };

/// Makes code for a module that the pass pipeline has brought to regions with
/// partitions, buffers and placed weights, and writes it in the given form.
/// Errors are diagnostics on the module.
mlir::LogicalResult writeModelCode(mlir::ModuleOp module,
                                   const ModelDescription &description,
                                   int optLevel, CodeForm form,
                                   llvm::raw_pwrite_stream &os);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_MODELOBJECT_H
