//===- TileModel.h - Tile registers in software -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_KERNELS_TILEMODEL_H
#define SPUTNIK_TEST_UNIT_KERNELS_TILEMODEL_H

#include "llvm/IR/Module.h"

namespace sputnik::testing {

/// Makes code that multiplies in x86's tile registers (AMX) run on machines without
/// them: tiles become memory, and instructions calls of this process' functions,
/// written from the operation sections of Intel's manual. Fails if the code has
/// tiles that go from block to block.
llvm::Error replaceTiles(llvm::Module &module);

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_KERNELS_TILEMODEL_H
