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
  char line[16384] = "";
  if (FILE *file = std::fopen(path.c_str(), "re")) {
    if (!std::fgets(line, sizeof(line), file))
      line[0] = '\0';
    std::fclose(file);
  }
  return std::string(line, std::strcspn(line, "\n"));
}

/// What is in a list of numbers and ranges as the kernel writes it, "0-3,8".
/// Nothing after what is not such a list.
static std::vector<std::pair<long, long>> parseRanges(const std::string &text) {
  std::vector<std::pair<long, long>> ranges;
  for (const char *at = text.c_str(); *at;) {
    char *end;
    const long first = std::strtol(at, &end, 10);
    long last = first;
    if (end == at)
      break;
    if (*end == '-') {
      at = end + 1;
      last = std::strtol(at, &end, 10);
      if (end == at)
        break;
    }
    ranges.emplace_back(first, last);
    if (*end != ',')
      break;
    at = end + 1;
  }
  return ranges;
}

/// The processors of `all` by node. Those that no node claims are the first
/// node's.
static std::vector<std::vector<int>> findNodes(const std::vector<int> &all,
                                               const std::string &sysRoot) {
  const std::string folder = sysRoot + "/devices/system/node/";
  std::vector<std::vector<int>> nodes;
  std::vector<int> others = all;
  for (const auto &[first, last] : parseRanges(firstLine(folder + "online")))
    for (long node = first; node <= last && !others.empty(); ++node) {
      const auto ranges = parseRanges(
          firstLine(folder + "node" + std::to_string(node) + "/cpulist"));
      std::vector<int> own, rest;
      for (int cpu : others) {
        const bool inside = std::any_of(
            ranges.begin(), ranges.end(), [&](const auto &range) {
              return range.first <= cpu && cpu <= range.second;
            });
        (inside ? own : rest).push_back(cpu);
      }
      others = std::move(rest);
      if (!own.empty())
        nodes.push_back(std::move(own));
    }
  if (nodes.empty())
    return {all};
  nodes.front().insert(nodes.front().end(), others.begin(), others.end());
  return nodes;
}

size_t Cpus::nodeOf(int cpu) const {
  for (size_t node = 0; node < nodes.size(); ++node)
    if (std::find(nodes[node].begin(), nodes[node].end(), cpu) !=
        nodes[node].end())
      return node;
  return 0;
}

void Cpus::ignoreNodes() {
  nodes = {all};
  std::sort(cores.begin(), cores.end());
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

  cpus.nodes = findNodes(cpus.all, sysRoot);

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
  std::stable_sort(cpus.cores.begin(), cpus.cores.end(), [&](int a, int b) {
    return cpus.nodeOf(a) < cpus.nodeOf(b);
  });

  cpus.quota = static_cast<int64_t>(cpus.all.size());
  long long granted = 0, period = 0;
  if (std::sscanf(firstLine(sysRoot + "/fs/cgroup/cpu.max").c_str(),
                  "%lld %lld", &granted, &period) == 2 &&
      granted > 0 && period > 0)
    cpus.quota = std::clamp<int64_t>(granted / period, 1, cpus.quota);
  return cpus;
}

} // namespace sputnik::rt
