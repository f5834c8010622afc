//===- Executable.h - The file that this process runs from ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_EXECUTABLE_H
#define SPUTNIK_RUNTIME_EXECUTABLE_H

#include "runtime/Result.h"

#include <cstdint>
#include <string>

namespace sputnik::rt {

/// The path of the running executable, symbolic links resolved where /proc is
/// mounted; else as it was started. Empty if the kernel tells neither.
std::string executablePath();

/// Checks that `bytes` bytes at `address` are part of a mapped segment of the
/// executable and of the file behind it, so that reading them cannot fail for
/// a file that was cut short. A file that cannot be looked at passes.
Status checkMappedFromExecutable(const uint8_t *address, uint64_t bytes,
                                 const std::string &path);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_EXECUTABLE_H
