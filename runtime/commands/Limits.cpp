//===- Limits.cpp - What the machine can do at most -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/Limits.h"

namespace sputnik::rt {

Result<Limits> Limits::create(Engine &engine) {
  Limits limits(engine);
  if (engine.deviceName())
    return limits;
  const abi::Model &model = engine.model();
  std::span<const abi::WeightShare> shares;
  if (engine.weightNodes() > 1)
    shares = {model.shares, model.shareCount};
  Result<MachineProbe> probe = MachineProbe::create(
      model, engine.pool(), engine.weights(), model.weightBytes, shares);
  if (!probe)
    return probe.error();
  limits.cores.emplace(std::move(*probe));
  return limits;
}

Result<double> Limits::readBytesPerSecond() const {
  return cores ? cores->readBytesPerSecond()
               : engine->measureDevice(abi::kReadLimit);
}

Result<double> Limits::dotOperationsPerSecond() const {
  return cores ? cores->dotOperationsPerSecond()
               : engine->measureDevice(abi::kDotLimit);
}

Result<double> Limits::copyBytesPerSecond() const {
  return cores ? 0.0 : engine->measureDevice(abi::kCopyLimit);
}

Result<double> Limits::launchSeconds() const {
  const Result<double> perSecond = engine->measureDevice(abi::kLaunchLimit);
  if (!perSecond)
    return perSecond;
  return 1 / *perSecond;
}

} // namespace sputnik::rt
