//===- EmulatedGraph.cpp - A graph as kernels in the emulator -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/gpu/EmulatedGraph.h"

#include "codegen/gpu/Chip.h"
#include "codegen/gpu/Kernel.h"
#include "codegen/gpu/KernelCode.h"
#include "passes/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;

namespace sputnik::testing {

llvm::Expected<std::unique_ptr<EmulatedGraph>>
EmulatedGraph::create(ModuleOp module, const Options &options) {
  MLIRContext &context = *module.getContext();
  llvm::Expected<r1::TargetAttr> target = gpu::getTarget(options.chip, context);
  if (!target)
    return target.takeError();
  if (options.processors)
    target = r1::TargetAttr::get(
        &context, target->getTriple(), target->getCpu(), target->getFeatures(),
        target->getVectorBits(), target->getVectorRegisters(),
        target->getBf16Dot(), target->getInt8Dot(), target->getL1(),
        target->getL2(), target->getL3(), options.processors);
  module->setAttr(r1::kTargetAttr, *target);

  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error &&
        message.empty())
      message = diagnostic.str();
    return success();
  });
  PassManager pm(&context);
  r1::PipelineOptions pipeline;
  pipeline.scheme = options.scheme;
  pipeline.prefillRows = options.prefillRows;
  r1::buildPipeline(pm, pipeline);
  auto llvmContext = std::make_unique<llvm::LLVMContext>();
  if (failed(pm.run(module)))
    return llvm::createStringError(message);
  FailureOr<gpu::KernelCode> code =
      gpu::makeKernelCode(module, *target, *llvmContext);
  if (failed(code))
    return llvm::createStringError(message);
  auto emulator =
      gpu::Emulator::create(std::move(code->module), std::move(llvmContext));
  if (!emulator)
    return emulator.takeError();

  std::unique_ptr<EmulatedGraph> graph(new EmulatedGraph());
  graph->emulator = std::move(*emulator);
  graph->plans = std::move(code->plans);
  graph->bytesOfWeights =
      module->getAttrOfType<IntegerAttr>(r1::kImageBytesAttr).getInt();
  auto decode = module.lookupSymbol<func::FuncOp>("decode");
  graph->cacheBytes =
      cast<r1::KVCacheType>(decode.getArgumentTypes()[4]).getSlotBytes();
  graph->vocabularySize =
      cast<RankedTensorType>(decode.getResultTypes()[0]).getDimSize(1);
  graph->startsEarly = gpu::hasDependentLaunch(*target);
  graph->reset(0);
  return std::move(graph);
}

const gpu::PhasePlan &EmulatedGraph::plan(llvm::StringRef phase) const {
  return *llvm::find_if(
      plans, [&](const gpu::PhasePlan &plan) { return plan.name == phase; });
}

int64_t EmulatedGraph::maxRows(llvm::StringRef phase) const {
  return plan(phase).phase.getMaxRows();
}

void EmulatedGraph::reset(uint64_t seed, int64_t conversations) {
  int64_t bytes = 0;
  for (const gpu::PhasePlan &plan : plans)
    bytes = std::max(bytes, plan.arenaBytes);
  arena.assign(static_cast<size_t>(bytes), 0);
  cache.assign(static_cast<size_t>(conversations) * cacheBytes, 0xff);
  emulator->setSeed(seed);
}

llvm::Error EmulatedGraph::run(llvm::StringRef phase, StepRows rows,
                               std::vector<uint8_t> &weights, float *logits) {
  const auto count = static_cast<int32_t>(rows.tokens.size());
  const auto outputs = static_cast<int32_t>(rows.outputs.size());
  std::vector<uint8_t *> caches;
  for (size_t at = 0; at < cache.size(); at += cacheBytes)
    caches.push_back(cache.data() + at);
  abi::Sampling sampling = {};
  int32_t layer = 0;
  struct Buffer {
    const char *name;
    void *data;
    uint64_t bytes;
    bool writable;
  };
  // In the order of gpu::Argument.
  const Buffer buffers[] = {
      {"tokens", rows.tokens.data(), 4u * rows.tokens.size(), false},
      {"slots", rows.slots.data(), 4u * rows.slots.size(), false},
      {"positions", rows.positions.data(), 4u * rows.positions.size(), false},
      {"outputs", rows.outputs.data(), 4u * rows.outputs.size(), false},
      {"logits", logits, 4u * rows.outputs.size() * vocabularySize, true},
      {"weights", weights.data(), weights.size(), false},
      {"arena", arena.data(), arena.size(), true},
      {"caches", caches.data(), sizeof(uint8_t *) * caches.size(), false},
      {"sampling", &sampling, sizeof(sampling), false},
  };
  void *pointers[gpu::kRows];
  std::vector<void *> arguments;
  for (auto [pointer, buffer] : llvm::zip_equal(pointers, buffers)) {
    pointer = buffer.data;
    arguments.push_back(&pointer);
    emulator->addBuffer(buffer.name, buffer.data, buffer.bytes,
                        buffer.writable);
  }
  emulator->addBuffer("cache", cache.data(), cache.size(), true);
  int32_t numbers[] = {count, outputs};
  arguments.insert(arguments.end(), {&numbers[0], &numbers[1], &layer});

  llvm::Error error = llvm::Error::success();
  for (const gpu::Launch &launch : plan(phase).launches) {
    const int64_t launched = launch.perOutput ? outputs : count;
    if (launched == 0)
      continue;
    layer = static_cast<int32_t>(launch.layer);
    gpu::Grid::Shape shape = {
        static_cast<uint32_t>(launch.blocks),
        static_cast<uint32_t>((launched + launch.rowTile - 1) /
                              launch.rowTile),
        static_cast<uint32_t>(launch.threads),
        static_cast<uint64_t>(launch.sharedBytes), startsEarly};
    error = emulator->launch(launch.kernel, shape, arguments);
    if (error)
      break;
  }
  for (const Buffer &buffer : buffers)
    emulator->removeBuffer(buffer.data);
  emulator->removeBuffer(cache.data());
  return error;
}

} // namespace sputnik::testing
