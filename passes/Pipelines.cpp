//===- Pipelines.cpp - The passes in order --------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;
using namespace sputnik::r1;

void sputnik::r1::buildPipeline(OpPassManager &pm,
                                const PipelineOptions &options) {
  const bool optimize = options.optLevel > 0;

  if (optimize) {
    // Before weights are encoded: what is merged are programs over plain
    // values, and one encoding is chosen for the whole.
    pm.addPass(createMergeLinearsPass());
    // After the merge: rules name the weights that it makes. It merges linears
    // of the same rows, so a norm feeds all columns of a merged weight.
    FoldNormGainsPassOptions fold;
    fold.scheme = options.scheme;
    fold.overrides.assign(options.overrides.begin(), options.overrides.end());
    pm.addPass(createFoldNormGainsPass(fold));
  }

  // The last change of the graph that is the same for every phase is done.
  SpecializePhasesPassOptions phases;
  phases.verifyRows = options.verifyRows;
  phases.prefillRows = options.prefillRows;
  pm.addPass(createSpecializePhasesPass(phases));
  // Adds a weight: before weights are encoded.
  if (optimize)
    pm.addPass(createChooseLatentFormPass());

  // As soon as no pass changes which weights there are.
  EncodeWeightsPassOptions encode;
  encode.scheme = options.scheme;
  encode.overrides.assign(options.overrides.begin(), options.overrides.end());
  pm.addPass(createEncodeWeightsPass(encode));
  // Separate from the scheme: the oracle reads the same values row-major.
  if (optimize)
    pm.addPass(createPackWeightsPass());
  // The last pass before regions that finds every product as it is.
  if (options.observe)
    pm.addPass(createObserveInputsPass());
  // Needs the phases and the encodings; before regions, so that a cast joins
  // the region that makes its operand.
  if (optimize)
    pm.addPass(createStageActivationsPass());

  FormRegionsPassOptions regions;
  regions.fuse = optimize;
  pm.addPass(createFormRegionsPass(regions));
  // Both read regions as they are and do not change them.
  pm.addNestedPass<func::FuncOp>(createPartitionPass());
  pm.addPass(createPlanMemoryPass());
  // Last: the order of the image is the order in which regions read it.
  pm.addPass(createPlaceWeightsPass());
}

void sputnik::r1::buildIsolatePipeline(OpPassManager &pm,
                                       const IsolateOptions &options) {
  IsolateRegionPassOptions isolate;
  isolate.region = options.region;
  isolate.number = options.number;
  pm.addPass(createIsolateRegionPass(isolate));
  // The image has the weights of the region only.
  pm.addPass(createPlaceWeightsPass());
}

void sputnik::r1::registerPipelines() {
  PassPipelineRegistration<PipelineOptions>(
      "r1-pipeline",
      "From the graph of the importer to regions with memory, partition and "
      "placement, as `sputnik compile` does it",
      buildPipeline);
  PassPipelineRegistration<IsolateOptions>(
      "r1-isolate",
      "From what r1-pipeline makes to one region of it, as `sputnik compile "
      "--bench-dir` writes them",
      buildIsolatePipeline);
}
