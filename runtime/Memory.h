//===- Memory.h - How much memory there is ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_MEMORY_H
#define SPUTNIK_RUNTIME_MEMORY_H

#include <cstdint>
#include <optional>
#include <string>

namespace sputnik::rt {

/// Bytes that this process can take before others have to give some up: what
/// the kernel says below `procRoot`, but no more than a control group grants in
/// all, below `sysRoot`. 0 where the kernel does not say.
uint64_t availableMemory(const std::string &procRoot = "/proc",
                         const std::string &sysRoot = "/sys");

/// Bytes of anonymous memory that this process takes up now, if the kernel says.
std::optional<uint64_t> residentAnonymousBytes();

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_MEMORY_H
