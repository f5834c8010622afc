//===- Nibbles.h - What nibbles of weights stand for ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_NIBBLES_H
#define SPUTNIK_CODEGEN_GPU_NIBBLES_H

#include "codegen/gpu/Kernel.h"

#include <array>
#include <utility>

namespace sputnik::gpu {

/// The 16 bytes that nibbles stand for, as four words.
using NibbleTable = std::array<mlir::Value, 4>;

/// Of scheme q4 or q4_plain; with a `step`, an i32, the table that it chooses.
NibbleTable nibbleTable(Kernel &k, r1::Scheme scheme, mlir::Value step = {});

/// The bytes that the nibbles of a word stand for: those of the low half, which
/// are columns 0, 4, 1, 5, and of the high half, 2, 6, 3, 7.
std::pair<mlir::Value, mlir::Value>
lookUpNibbles(Kernel &k, const NibbleTable &table, mlir::Value word);
/// Eight columns of activations in that order.
llvm::SmallVector<mlir::Value> inNibbleOrder(Kernel &k, mlir::Value first,
                                             mlir::Value last);

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_NIBBLES_H
