//===- LoadedGraph.h - A graph compiled into this process
//-------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_BENCHMARKS_LOADEDGRAPH_H
#define SPUTNIK_BENCHMARKS_LOADEDGRAPH_H

#include "codegen/cpu/ModelObject.h"
#include "dialect/R1.h"
#include "runtime/Abi.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace llvm::orc {
class LLJIT;
} // namespace llvm::orc

namespace sputnik {

/// The code that an executable would hold, callable here.
class LoadedGraph {
public:
  struct Options {
    r1::Scheme scheme = r1::Scheme::F32;
    int optLevel = 3;
    int64_t prefillRows = 256;
    /// As `sputnik compile --target` takes it.
    std::string target = "native";
  };

  /// Takes `module`, a graph as the importer writes it, through r1-pipeline
  /// and makes code, for any address. The module is left as the pipeline makes
  /// it, with the placement of every weight.
  /// Errors: the first diagnostic.
  static llvm::Expected<llvm::SmallVector<char, 0>>
  compile(mlir::ModuleOp module, const Options &options,
          cpu::CodeForm form = cpu::CodeForm::Object);
  /// Loads an object file as `compile` makes it.
  static llvm::Expected<LoadedGraph> loadObject(llvm::ArrayRef<char> object);
  /// As `compile`, and loads the code, for a target that this machine runs.
  /// Errors: also what the loader says.
  static llvm::Expected<LoadedGraph> create(mlir::ModuleOp module,
                                            const Options &options);
  /// As `create`, of a module that went through the pipeline. With `profile`
  /// steps can note the times of regions.
  static llvm::Expected<LoadedGraph> load(mlir::ModuleOp module, int optLevel,
                                          bool profile);
  LoadedGraph(LoadedGraph &&);
  ~LoadedGraph();

  /// As long as this object lives.
  const abi::Model &model() const { return *loaded; }

private:
  LoadedGraph(std::unique_ptr<llvm::orc::LLJIT> jit, const abi::Model *loaded);

  std::unique_ptr<llvm::orc::LLJIT> jit;
  const abi::Model *loaded;
};

} // namespace sputnik

#endif // SPUTNIK_BENCHMARKS_LOADEDGRAPH_H
