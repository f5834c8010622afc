//===- SampleKernels.h - Choosing the next token ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_SAMPLEKERNELS_H
#define SPUTNIK_CODEGEN_GPU_SAMPLEKERNELS_H

#include "codegen/gpu/LowerRegions.h"

namespace sputnik::gpu {

/// Emits kernels into `code` that sample a token of one row of logits, as
/// abi::Sampling says, and the launches of them, in order: the token becomes the
/// first of `tokens`, the first of `positions` grows by one, and an
/// abi::SampledToken is written. Activations take `activationBytes` of the arena;
/// `arenaBytes` is raised to what the kernels need. There are at most 2^23
/// logits.
std::vector<Launch> emitSampling(mlir::ModuleOp code, int64_t vocabulary,
                                 int64_t activationBytes,
                                 r1::TargetAttr target, int64_t &arenaBytes);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_SAMPLEKERNELS_H
