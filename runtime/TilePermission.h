//===- TilePermission.h - Leave to use tile registers -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TILEPERMISSION_H
#define SPUTNIK_RUNTIME_TILEPERMISSION_H

#include "runtime/Abi.h"
#include "runtime/Result.h"

namespace sputnik::rt {

/// If the code of `model` needs the tile registers of x86's Advanced Matrix
/// Extensions (`tile_registers` of the target in Model::info), asks Linux for them,
/// for all threads of this process. Fails where there are none.
Status requestTileRegisters(const abi::Model &model);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TILEPERMISSION_H
