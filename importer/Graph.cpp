//===- Graph.cpp - From a checkpoint to an r1 module ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Graph.h"

#include "importer/DeepSeekV3.h"
#include "importer/InputError.h"
#include "importer/Llama.h"
#include "importer/ModelBuilder.h"
#include "importer/Qwen.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;

namespace sputnik {
namespace {

struct Architecture {
  StringLiteral modelType;
  Error (*build)(ModelBuilder &);
};

constexpr Architecture architectures[] = {
    {"llama", buildLlama},
    {"qwen2", buildQwen2},
    {"qwen3", buildQwen3},
    {"deepseek_v3", buildDeepSeekV3},
};

const Architecture &architectureOf(const Checkpoint &checkpoint) {
  const auto *found =
      find_if(architectures, [&](const Architecture &architecture) {
        return checkpoint.config().modelType == architecture.modelType;
      });
  assert(found != std::end(architectures) &&
         "configurations of other models are refused");
  return *found;
}

} // namespace

Expected<mlir::OwningOpRef<mlir::ModuleOp>>
importModel(const Checkpoint &checkpoint, mlir::MLIRContext &context,
            const ImportOptions &options) {
  const int64_t positions = checkpoint.config().maxPositions;
  if (options.maxContext < 0 || options.maxContext > positions)
    return inputError(checkpoint.path(),
                      "is made for a context of " + Twine(positions) +
                          " positions, expected at most that, found " +
                          Twine(options.maxContext));
  const int64_t dim = checkpoint.config().headDim;
  const bool latent = checkpoint.config().latent.has_value();
  if (options.kvElement && options.kvElement.isInteger(8) &&
      !r1::KVCacheType::canQuantize(dim, latent))
    return inputError(
        checkpoint.path(),
        "a cache of 8 bits is asked for, expected keys and values of heads "
        "with a multiple of " +
            Twine(r1::KVCacheType::kPanel) + " features, found " +
            (latent ? "latents" : Twine(dim).str()));

  context.loadDialect<r1::R1Dialect, mlir::func::FuncDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  if (options.target)
    (*module)->setAttr(r1::kTargetAttr, options.target);
  ModelBuilder builder(checkpoint, *module, options);
  if (Error error = architectureOf(checkpoint).build(builder))
    return error;
  return module;
}

} // namespace sputnik
