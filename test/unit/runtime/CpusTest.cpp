//===- CpusTest.cpp - Tests of the processors that may be used ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Cpus.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

namespace sputnik::rt {

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
