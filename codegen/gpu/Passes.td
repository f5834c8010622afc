//===- Passes.td - Passes on kernels for GPUs ----------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_PASSES
#define SPUTNIK_CODEGEN_GPU_PASSES

include "mlir/Pass/PassBase.td"

def VerifyDependentLaunchPass
    : Pass<"r1-gpu-verify-dependent-launch", "::mlir::ModuleOp"> {
  let summary = "Verify that kernels which start early wait for what they read";
  let description = [{
    A kernel with the attribute `r1.dependent_launch` starts before the kernels
    before it have ended. It must wait for them, at one call of
    `@sputnik.ptx.griddepcontrol.wait` in its entry block, and may touch nothing
    before that but weights, which no kernel writes, and its block's shared
    memory: every address that an operation above the call takes must be the
    kernel's weights, or shared memory, and an offset. What cannot be followed
    there is refused.

    Nothing is changed.
  }];
  let statistics = [
    Statistic<"kernels", "kernels", "Kernels that start early">,
    Statistic<"early", "early-uses", "Operations that use weights above the wait">
  ];
}

#endif // SPUTNIK_CODEGEN_GPU_PASSES
