//===- CpusTest.cpp - Tests of the processors that may be used ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Cpus.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

namespace sputnik::rt {

using Nodes = std::vector<std::vector<int>>;

TEST(Cpus, WithoutSysEveryProcessorIsACore) {
  const Cpus cpus = Cpus::available("/nonexistent");
  ASSERT_FALSE(cpus.all.empty());
  EXPECT_EQ(cpus.all, cpus.cores);
  EXPECT_EQ(cpus.quota, static_cast<int64_t>(cpus.all.size()));
  EXPECT_EQ(cpus.defaultThreads(), static_cast<int64_t>(cpus.all.size()));
}

TEST(Cpus, SiblingsShareACore) {
  const Cpus real = Cpus::available("/nonexistent");
  if (real.all.size() < 2)
    GTEST_SKIP() << "this machine has one processor";
  test::TemporaryFolder sys;
  for (size_t i = 0; i < real.all.size(); ++i)
    sys.write("devices/system/cpu/cpu" + std::to_string(real.all[i]) +
                  "/topology/thread_siblings_list",
              "core" + std::to_string(i / 2) + "\n");
  const Cpus cpus = Cpus::available(sys.path());
  EXPECT_EQ(cpus.cores.size(), (real.all.size() + 1) / 2);
  EXPECT_EQ(cpus.cores[0], real.all[0]);
}

TEST(Cpus, NodesHaveTheProcessorsThatTheKernelLists) {
  const Cpus real = Cpus::available("/nonexistent");
  EXPECT_EQ(real.nodes, Nodes{real.all});
  if (real.all.size() < 2)
    GTEST_SKIP() << "this machine has one processor";
  test::TemporaryFolder sys;
  const std::string nodes = "devices/system/node/";
  const auto other = std::to_string(real.all[1]);
  // The second processor is on the first node; the others, and some that this
  // process may not use, on the third; the second has none.
  sys.write(nodes + "online", "0-1,3\n");
  sys.write(nodes + "node0/cpulist", other + "\n");
  sys.write(nodes + "node1/cpulist", "\n");
  sys.write(nodes + "node3/cpulist", "100000,0-99999\n");
  Cpus cpus = Cpus::available(sys.path());
  ASSERT_EQ(cpus.nodes.size(), 2u);
  EXPECT_EQ(cpus.nodes[0], (std::vector<int>{real.all[1]}));
  EXPECT_EQ(cpus.nodes[1].size(), real.all.size() - 1);
  EXPECT_EQ(cpus.nodeOf(real.all[0]), 1u);
  EXPECT_EQ(cpus.nodeOf(real.all[1]), 0u);
  // Cores of a node are neighbours.
  EXPECT_EQ(cpus.cores[0], real.all[1]);
  EXPECT_EQ(cpus.cores[1], real.all[0]);
  cpus.ignoreNodes();
  EXPECT_EQ(cpus.nodes, Nodes{real.all});
  EXPECT_EQ(cpus.cores, real.all);

  sys.write(nodes + "online", "0-\n");
  EXPECT_EQ(Cpus::available(sys.path()).nodes, Nodes{real.all});
  // What no node claims is the first one's.
  sys.write(nodes + "online", "0\n");
  EXPECT_EQ(Cpus::available(sys.path()).nodes[0].size(), real.all.size());
}

TEST(Cpus, TheQuotaOfAControlGroupLimitsThreads) {
  test::TemporaryFolder sys;
  sys.write("fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(Cpus::available(sys.path()).defaultThreads(), 1);
  sys.write("fs/cgroup/cpu.max", "max 100000\n");
  const Cpus cpus = Cpus::available(sys.path());
  EXPECT_EQ(cpus.quota, static_cast<int64_t>(cpus.all.size()));
  sys.write("fs/cgroup/cpu.max", "1000 100000\n");
  EXPECT_EQ(Cpus::available(sys.path()).quota, 1);
}

} // namespace sputnik::rt
