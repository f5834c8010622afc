//===- sputnik-opt.cpp - Runs passes one at a time ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Passes.h"
#include "dialect/R1.h"
#include "passes/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<sputnik::r1::R1Dialect>();
  mlir::registerAllPasses();
  sputnik::r1::registerR1Passes();
  sputnik::r1::registerPipelines();
  sputnik::gpu::registerGPUPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Sputnik's optimizer driver\n", registry));
}
