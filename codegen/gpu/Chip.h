//===- Chip.h - The GPUs that code is made for ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_CHIP_H
#define SPUTNIK_CODEGEN_GPU_CHIP_H

#include "dialect/R1.h"
#include "llvm/Support/Error.h"

namespace llvm {
class TargetMachine;
class raw_ostream;
} // namespace llvm

namespace sputnik::gpu {

/// Whether `name` names a GPU, known or not, rather than a CPU.
bool isChipName(llvm::StringRef name);

/// The target that `name`, such as `sm_90a`, stands for. Fails with a line that
/// names the choices.
llvm::Expected<r1::TargetAttr> getTarget(llvm::StringRef name,
                                         mlir::MLIRContext &context);

/// What a chip's name says of the GPUs that run code for it.
struct Capability {
  unsigned number; ///< 10 * major + minor.
  bool onlyThis;   ///< Later chips do not.
};
Capability getCapability(llvm::StringRef chip);

/// The chip whose code the first GPU of this machine runs best; empty if there
/// is no driver, no GPU or no such chip.
llvm::StringRef getNativeChip();

/// LLVM's NVPTX back end for a target of getTarget.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(r1::TargetAttr target);

/// Whether warpgroups multiply together (wgmma): only sm_90a has that.
bool hasWarpgroupProducts(r1::TargetAttr target);

/// What `sputnik targets` prints of GPUs.
void printTargets(llvm::raw_ostream &os);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_CHIP_H
