//===- Pipelines.h - The passes in order ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_PASSES_PIPELINES_H
#define SPUTNIK_PASSES_PIPELINES_H

#include "mlir/Pass/PassOptions.h"
#include "passes/Passes.h"

namespace sputnik::r1 {

/// What the driver and the tests may ask of the pipeline.
struct PipelineOptions : mlir::PassPipelineOptions<PipelineOptions> {
  Option<int64_t> optLevel{
      *this, "opt-level",
      llvm::cl::desc("0: every op a region of its own, weights row-major, "
                     "f32 activations; 1 to 3: everything"),
      llvm::cl::init(3)};
  Option<Scheme> scheme{
      *this, "scheme", llvm::cl::desc("the scheme of matrices"),
      llvm::cl::init(Scheme::F32),
      llvm::cl::values(clEnumValN(Scheme::F32, "f32", "32-bit floats"),
                       clEnumValN(Scheme::BF16, "bf16", "bfloat16"),
                       clEnumValN(Scheme::Q8, "q8", "8 bits, blocks of 32"),
                       clEnumValN(Scheme::Q4, "q4",
                                  "4 bits, blocks of 32, non-linear"),
                       clEnumValN(Scheme::Q4Plain, "q4_plain",
                                  "4 bits, blocks of 32, linear"),
                       clEnumValN(Scheme::FP8, "fp8",
                                  "8-bit floats (E4M3), blocks of 128"))};
  ListOption<std::string> overrides{
      *this, "overrides",
      llvm::cl::desc("other schemes for some matrices, as pattern=scheme")};
  Option<bool> observe{
      *this, "observe",
      llvm::cl::desc("let the code add up squares of what matrices are "
                     "multiplied with"),
      llvm::cl::init(false)};
  Option<int64_t> verifyRows{*this, "verify-rows",
                             llvm::cl::desc("most rows of @verify"),
                             llvm::cl::init(8)};
  Option<int64_t> prefillRows{*this, "prefill-rows",
                              llvm::cl::desc("most rows of @prefill"),
                              llvm::cl::init(256)};
};

/// Adds the passes that take the graph of the importer to regions with memory,
/// partition and placement: all that code generation needs.
void buildPipeline(mlir::OpPassManager &pm, const PipelineOptions &options);

/// Which region r1-isolate keeps.
struct IsolateOptions : mlir::PassPipelineOptions<IsolateOptions> {
  Option<std::string> region{*this, "region",
                             llvm::cl::desc("the name of the region")};
  Option<int64_t> number{
      *this, "number",
      llvm::cl::desc("which of those with that name, counted from 1"),
      llvm::cl::init(1)};
};

/// Appends to `pm` what makes a module of one region, to be measured by itself,
/// from a module after buildPipeline.
void buildIsolatePipeline(mlir::OpPassManager &pm,
                          const IsolateOptions &options);

/// Makes `r1-pipeline` and `r1-isolate` known by name.
void registerPipelines();

} // namespace sputnik::r1

#endif // SPUTNIK_PASSES_PIPELINES_H
