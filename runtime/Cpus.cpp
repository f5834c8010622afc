//===- Cpus.cpp - The processors that this process may use ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Cpus.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sched.h>

namespace sputnik::rt {

/// The processors of the affinity mask; empty if the kernel gives none.
static std::vector<int> affinity() {
  constexpr int largest = 1 << 20;
  for (int count = 1024; count <= largest; count *= 4) {
    cpu_set_t *set = CPU_ALLOC(count);
    if (!set)
      return {};
    const size_t bytes = CPU_ALLOC_SIZE(count);
    std::vector<int> cpus;
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const bool tooSmall = !known && errno == EINVAL;
    if (known)
      for (int cpu = 0; cpu < count; ++cpu)
        if (CPU_ISSET_S(cpu, bytes, set))
          cpus.push_back(cpu);
    CPU_FREE(set);
    if (!tooSmall)
      return cpus;
  }
  return {};
}

/// The first line of a small file, empty if it cannot be read.
static std::string firstLine(const std::string &path) {
  char line[256] = "";
  if (FILE *file = std::fopen(path.c_str(), "re")) {
    if (!std::fgets(line, sizeof(line), file))
      line[0] = '\0';
    std::fclose(file);
  }
  return std::string(line, std::strcspn(line, "\n"));
}

int64_t Cpus::defaultThreads() const {
  return std::max<int64_t>(
      1, std::min<int64_t>(static_cast<int64_t>(cores.size()), quota));
}

Cpus Cpus::available(const std::string &sysRoot) {
  Cpus cpus;
  cpus.all = affinity();
  if (cpus.all.empty())
    cpus.all.push_back(0);

  // Processors of one core name the same list of siblings.
  std::vector<std::string> seen;
  for (int cpu : cpus.all) {
    const std::string siblings =
        firstLine(sysRoot + "/devices/system/cpu/cpu" + std::to_string(cpu) +
                  "/topology/thread_siblings_list");
    if (!siblings.empty() &&
        std::find(seen.begin(), seen.end(), siblings) != seen.end())
      continue;
    seen.push_back(siblings);
    cpus.cores.push_back(cpu);
  }

  cpus.quota = static_cast<int64_t>(cpus.all.size());
  long long granted = 0, period = 0;
  if (std::sscanf(firstLine(sysRoot + "/fs/cgroup/cpu.max").c_str(),
                  "%lld %lld", &granted, &period) == 2 &&
      granted > 0 && period > 0)
    cpus.quota = std::clamp<int64_t>(granted / period, 1, cpus.quota);
  return cpus;
}

} // namespace sputnik::rt
