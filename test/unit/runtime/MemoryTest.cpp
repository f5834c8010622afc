//===- MemoryTest.cpp - Tests of how much memory there is -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Memory.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

namespace sputnik::rt {

TEST(Memory, TheKernelAndAControlGroupLimitIt) {
  test::TemporaryFolder root;
  EXPECT_EQ(availableMemory(root.path(), root.path()), 0u);
  root.write("meminfo", "MemTotal:  9000 kB\nMemFree: 10 kB\n"
                        "MemAvailable:    5000 kB\n");
  EXPECT_EQ(availableMemory(root.path(), root.path()), 5000u * 1024);
  root.write("fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(availableMemory(root.path(), root.path()), 5000u * 1024);
  root.write("fs/cgroup/memory.max", "4096\n");
  EXPECT_EQ(availableMemory(root.path(), root.path()), 4096u);
  EXPECT_GT(availableMemory(), 0u);
  EXPECT_GT(residentAnonymousBytes(), 0u);
}

} // namespace sputnik::rt
