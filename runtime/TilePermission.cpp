//===- TilePermission.cpp - Leave to use tile registers -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/TilePermission.h"

#include <cerrno>
#include <nlohmann/json.hpp>
#include <sys/syscall.h>
#include <unistd.h>

namespace sputnik::rt {

static bool needsTileRegisters(const abi::Model &model) {
  const nlohmann::json info =
      nlohmann::json::parse(model.info, model.info + model.infoBytes, nullptr,
                            /*allow_exceptions=*/false);
  if (!info.is_object())
    return false;
  const auto target = info.find("target");
  if (target == info.end() || !target->is_object())
    return false;
  const auto needs = target->find("tile_registers");
  return needs != target->end() && needs->is_boolean() && needs->get<bool>();
}

Status requestTileRegisters(const abi::Model &model) {
  if (!needsTileRegisters(model))
    return {};
#if defined(__x86_64__)
  // Linux, Documentation/arch/x86/xstate.rst.
  constexpr int requestPermission = 0x1023, tileData = 18;
  if (syscall(SYS_arch_prctl, requestPermission, tileData) == 0)
    return {};
  return SPUTNIK_ERROR("this executable is for processors with tile registers "
                       "(AMX), which the kernel does not grant here: %s",
                       systemMessage(errno).c_str());
#else
  return Error{"only x86 has the tile registers that this executable needs"};
#endif
}

} // namespace sputnik::rt
