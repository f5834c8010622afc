//===- Instructions.h - What NVVM intrinsics do -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_EMULATOR_INSTRUCTIONS_H
#define SPUTNIK_CODEGEN_GPU_EMULATOR_INSTRUCTIONS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"

#include <utility>

namespace sputnik::gpu {

/// Functions that retargeted kernels call, by what follows `emulated.` in their
/// names: intrinsics without `llvm.`, and those of Retarget.h. They act on the
/// running thread of Grid::running().
const llvm::StringMap<void *> &emulatedInstructions();
/// The same for PTX wrappers: what sm_90a has alone.
const llvm::StringMap<void *> &warpgroupInstructions();

/// Functions that the host's back end may call by itself.
llvm::ArrayRef<std::pair<const char *, void *>> libraryFunctions();

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_EMULATOR_INSTRUCTIONS_H
