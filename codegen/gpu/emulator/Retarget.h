//===- Retarget.h - Kernels as code of the host -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_EMULATOR_RETARGET_H
#define SPUTNIK_CODEGEN_GPU_EMULATOR_RETARGET_H

#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace sputnik::gpu {

/// Names that retargeted kernels call: `emulated.<intrinsic>` for each
/// `llvm.<intrinsic>` of NVVM, `emulated.ptx.<wrapper>` for each PTX wrapper, and
/// these.
inline constexpr llvm::StringLiteral kEmulatedPrefix = "emulated.";
/// ptr addrspace(3) (): the running block's shared memory.
inline constexpr llvm::StringLiteral kEmulatedShared = "emulated.shared";
/// void (ptr, i64 bytes, i64 alignment, i1 writes): called before each access
/// to memory.
inline constexpr llvm::StringLiteral kEmulatedCheck = "emulated.check";
/// Suffix of the function void (ptr) that calls a kernel with the arguments
/// whose addresses the array holds, as cuLaunchKernel takes them.
inline constexpr llvm::StringLiteral kEnterSuffix = ".enter";

/// What a kernel is called with.
struct KernelSignature {
  std::string name;
  std::vector<unsigned> argumentBytes;
};

/// Turns the LLVM IR of kernels, made for the NVPTX back end, into code for the
/// host: intrinsics and PTX wrappers become calls of the emulator, shared
/// memory is asked for, every access is checked first. Address spaces stay:
/// the host's back ends take 1, 3 and 5 for plain memory. Fails on an intrinsic
/// or a wrapper that `knows` does not know.
llvm::Expected<std::vector<KernelSignature>>
retargetKernels(llvm::Module &kernels,
                llvm::function_ref<bool(llvm::StringRef)> knows);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_EMULATOR_RETARGET_H
