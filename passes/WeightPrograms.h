//===- WeightPrograms.h - Rewriting weights and their programs --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_PASSES_WEIGHTPROGRAMS_H
#define SPUTNIK_PASSES_WEIGHTPROGRAMS_H

#include "dialect/R1.h"
#include "llvm/ADT/MapVector.h"

namespace sputnik::r1 {

/// The ops of the graph that read each weight, both in program order. A weight
/// that only programs read is not in it.
using GraphReaders =
    llvm::MapVector<mlir::StringAttr, llvm::SmallVector<mlir::Operation *, 2>>;
GraphReaders collectGraphReaders(mlir::ModuleOp module);

/// The type of the weight that `op` (r1.weight or r1.derived) defines.
mlir::RankedTensorType getWeightType(mlir::Operation *op);

/// The value that the program of `derived` yields.
mlir::Value getProgramResult(DerivedOp derived);

/// Makes the program of `derived` yield `value`; its type becomes the value's.
void setProgramResult(DerivedOp derived, mlir::Value value);

/// Makes the program of `derived` end in an `r1.encode` to `encoding`.
void setProgramEncoding(DerivedOp derived, EncodingAttr encoding);

/// The value of a weight inside a program: the program of an `r1.derived` is
/// copied, so that programs stay flat; an `r1.weight` is read.
mlir::Value inlineWeight(mlir::OpBuilder &builder, mlir::Operation *weight);

/// A program of its own for what ops of the graph read as `weight`: the op
/// itself if it is a program that no other program reads. Else the op is
/// renamed to `<name>.source`, which programs go on reading, and an
/// `r1.derived` takes the name.
DerivedOp getOwnProgram(mlir::SymbolTable &symbols, mlir::Operation *weight);

/// A new empty program after `after`, under `name` or a name near it.
DerivedOp createProgram(mlir::SymbolTable &symbols, mlir::Operation *after,
                        llvm::StringRef name, mlir::IntegerAttr layers);

/// Erases the weights that nothing reads; returns how many those were.
int64_t eraseUnreadWeights(mlir::ModuleOp module);

} // namespace sputnik::r1

#endif // SPUTNIK_PASSES_WEIGHTPROGRAMS_H
