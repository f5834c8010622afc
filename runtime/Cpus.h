//===- Cpus.h - The processors that this process may use ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_CPUS_H
#define SPUTNIK_RUNTIME_CPUS_H

#include <cstdint>
#include <string>
#include <vector>

namespace sputnik::rt {

/// The processors that the scheduler lets this process run on.
struct Cpus {
  /// Their numbers, ascending.
  std::vector<int> all;
  /// The same by the node (NUMA) whose memory they are near to; one list where
  /// the kernel does not tell nodes apart.
  std::vector<std::vector<int>> nodes;
  /// One of each physical core, those of a node one after the other. All
  /// processors where the kernel does not say which share a core.
  std::vector<int> cores;
  /// How many processors' worth of time a control group grants; `all.size()`
  /// where there is no limit.
  int64_t quota = 1;

  /// How many threads to start when nobody asked for a number.
  int64_t defaultThreads() const;

  /// Index into `nodes` of the one that has `cpu`.
  size_t nodeOf(int cpu) const;
  /// From now on takes all memory to be equally near.
  void ignoreNodes();

  /// Reads the affinity mask, and topology and quota below `sysRoot`, which
  /// need not exist.
  static Cpus available(const std::string &sysRoot = "/sys");
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_CPUS_H
