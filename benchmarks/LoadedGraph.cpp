//===- LoadedGraph.cpp - A graph compiled into this process
//-----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "benchmarks/LoadedGraph.h"

#include "codegen/cpu/Target.h"
#include "passes/Pipelines.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;
using namespace sputnik;
using llvm::Error;
using llvm::Expected;

LoadedGraph::LoadedGraph(std::unique_ptr<llvm::orc::LLJIT> jit,
                         const abi::Model *loaded)
    : jit(std::move(jit)), loaded(loaded) {}
LoadedGraph::LoadedGraph(LoadedGraph &&) = default;
LoadedGraph::~LoadedGraph() = default;

namespace {
/// Keeps the first error of what is done while it lives.
class FirstError {
public:
  explicit FirstError(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error &&
              message.empty())
            message = diagnostic.str();
          return success();
        }) {}

  Error take() const {
    return llvm::createStringError(message.empty() ? "the passes failed"
                                                   : message);
  }

private:
  std::string message;
  ScopedDiagnosticHandler handler;
};
} // namespace

static Expected<SmallVector<char, 0>> makeCode(ModuleOp module, int optLevel,
                                               bool profile,
                                               cpu::CodeForm form) {
  FirstError error(*module.getContext());
  cpu::ModelDescription description;
  description.weightSource = abi::kRandom;
  description.profile = profile;
  description.positionIndependent = true;
  SmallVector<char, 0> object;
  llvm::raw_svector_ostream os(object);
  if (failed(cpu::writeModelCode(module, description, optLevel,
                                 form, os)))
    return error.take();
  return object;
}

Expected<LoadedGraph> LoadedGraph::loadObject(llvm::ArrayRef<char> object) {
  llvm::InitializeNativeTarget();
  Expected<std::unique_ptr<llvm::orc::LLJIT>> jit =
      llvm::orc::LLJITBuilder().create();
  if (!jit)
    return jit.takeError();
  if (Error failure =
          (*jit)->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(
              StringRef(object.data(), object.size()), "sputnik_model")))
    return failure;
  Expected<llvm::orc::ExecutorAddr> address = (*jit)->lookup("sputnik_model");
  if (!address)
    return address.takeError();
  return LoadedGraph(std::move(*jit), address->toPtr<const abi::Model *>());
}

Expected<LoadedGraph> LoadedGraph::load(ModuleOp module, int optLevel,
                                        bool profile) {
  auto object = makeCode(module, optLevel, profile, cpu::CodeForm::Object);
  if (!object)
    return object.takeError();
  return loadObject(*object);
}

Expected<SmallVector<char, 0>>
LoadedGraph::compile(ModuleOp module, const Options &options,
                     cpu::CodeForm form) {
  MLIRContext &context = *module.getContext();
  Expected<r1::TargetAttr> target = cpu::getTarget(options.target, context);
  if (!target)
    return target.takeError();
  module->setAttr(r1::kTargetAttr, *target);
  FirstError error(context);
  PassManager pm(&context);
  r1::PipelineOptions pipeline;
  pipeline.optLevel = options.optLevel;
  pipeline.scheme = options.scheme;
  pipeline.prefillRows = options.prefillRows;
  r1::buildPipeline(pm, pipeline);
  if (failed(pm.run(module)))
    return error.take();
  return makeCode(module, options.optLevel, /*profile=*/false, form);
}

Expected<LoadedGraph> LoadedGraph::create(ModuleOp module,
                                          const Options &options) {
  auto object = compile(module, options);
  if (!object)
    return object.takeError();
  return loadObject(*object);
}
