//===- RegionBenchmarks.h - Kernel regions as files -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TOOLS_REGIONBENCHMARKS_H
#define SPUTNIK_TOOLS_REGIONBENCHMARKS_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace sputnik {

/// Writes each region of `module`, as r1-pipeline leaves it, as a benchmark of
/// its own to `folder`, which is made if it is not there: NAME.mlir, which
/// sputnik-bench runs, and NAME.ll and NAME.s, what becomes of it. Of several
/// regions of one name in a phase, the second is NAME.2 and so on. A module has
/// the region as it is in each phase that has it.
/// Errors are diagnostics on the module or those of the files.
llvm::Error writeRegionBenchmarks(mlir::ModuleOp module, llvm::StringRef folder,
                                  int optLevel);

} // namespace sputnik

#endif // SPUTNIK_TOOLS_REGIONBENCHMARKS_H
