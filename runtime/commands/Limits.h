//===- Limits.h - What the machine can do at most ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_LIMITS_H
#define SPUTNIK_RUNTIME_COMMANDS_LIMITS_H

#include "runtime/Engine.h"
#include "runtime/MachineProbe.h"

#include <optional>

namespace sputnik::rt {

/// Measures the limits of whatever runs an engine's steps: the cores of this
/// machine, or a device.
class Limits {
public:
  static Result<Limits> create(Engine &engine);

  /// Bytes per second that one pass over the memory reads.
  Result<double> readBytesPerSecond() const;
  /// Operations per second of the instruction that prefill spends its time in, a
  /// multiply-add counting as two.
  Result<double> dotOperationsPerSecond() const;
  /// Bytes per second that are read and written while a device copies its
  /// memory; 0 for cores.
  Result<double> copyBytesPerSecond() const;
  /// Seconds that a device notes for a kernel that does nothing; only for one.
  Result<double> launchSeconds() const;

private:
  explicit Limits(Engine &engine) : engine(&engine) {}

  Engine *engine;
  std::optional<MachineProbe> cores;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_LIMITS_H
