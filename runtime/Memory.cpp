//===- Memory.cpp - How much memory there is ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Memory.h"

#include <algorithm>
#include <cstdio>

namespace sputnik::rt {

/// The number in the first line of a file that `format` reads.
static std::optional<uint64_t> readNumber(const std::string &path,
                                          const char *format) {
  FILE *file = std::fopen(path.c_str(), "re");
  if (!file)
    return std::nullopt;
  char line[256];
  unsigned long long number = 0;
  bool found = false;
  while (!found && std::fgets(line, sizeof(line), file))
    found = std::sscanf(line, format, &number) == 1;
  std::fclose(file);
  return found ? std::optional<uint64_t>(number) : std::nullopt;
}

uint64_t availableMemory(const std::string &procRoot,
                         const std::string &sysRoot) {
  const uint64_t available =
      readNumber(procRoot + "/meminfo", "MemAvailable: %llu kB").value_or(0) *
      1024;
  return std::min(available,
                  readNumber(sysRoot + "/fs/cgroup/memory.max", "%llu")
                      .value_or(available));
}

std::optional<uint64_t> residentAnonymousBytes() {
  const std::optional<uint64_t> kilobytes =
      readNumber("/proc/self/status", "RssAnon: %llu kB");
  return kilobytes ? std::optional<uint64_t>(*kilobytes * 1024) : std::nullopt;
}

} // namespace sputnik::rt
