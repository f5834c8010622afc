//===- KernelCode.h - The kernels of a model as code ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_KERNELCODE_H
#define SPUTNIK_CODEGEN_GPU_KERNELCODE_H

#include "codegen/cpu/ModelObject.h"
#include "codegen/gpu/Assembler.h"
#include "codegen/gpu/LowerRegions.h"

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace sputnik::gpu {

/// The kernels of a module that the pass pipeline has brought to regions, for
/// one chip, before LLVM's passes.
struct KernelCode {
  std::unique_ptr<llvm::Module> module;
  std::vector<PhasePlan> plans;
  std::vector<Launch> sample;  ///< See emitSampling; of the decode phase's logits.
  int64_t arenaBytes = 0; ///< The most that any of them needs.
};

/// Errors are diagnostics on `module`.
mlir::FailureOr<KernelCode> makeKernelCode(mlir::ModuleOp module,
                                           r1::TargetAttr target,
                                           llvm::LLVMContext &context);

/// The kernels of emitSampling alone.
mlir::FailureOr<KernelCode> makeSamplingCode(int64_t vocabulary,
                                             r1::TargetAttr target,
                                             llvm::LLVMContext &context);

/// Runs LLVM's passes on kernels: what `--emit=llvm` shows.
mlir::LogicalResult optimizeKernels(llvm::Module &kernels,
                                    r1::TargetAttr target,
                                    mlir::ModuleOp module);

/// The PTX of optimised kernels, which are not fit for anything else then.
mlir::FailureOr<std::string> makePtx(llvm::Module &kernels,
                                     r1::TargetAttr target,
                                     mlir::ModuleOp module);

/// What an executable holds of the kernels of each chip's module: PTX, and machine
/// code where there is an assembler, which runs for several chips at a time.
mlir::FailureOr<std::vector<cpu::KernelImage>>
makeKernelImages(llvm::ArrayRef<mlir::ModuleOp> modules,
                 const std::optional<Assembler> &assembler);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_KERNELCODE_H
