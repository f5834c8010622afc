//===- ThreadPoolTest.cpp - Tests of the threads --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/ThreadPool.h"

#include <gtest/gtest.h>
#include <set>
#include <unistd.h>

using namespace sputnik::rt;

static std::unique_ptr<ThreadPool> makePool(int64_t threads) {
  Result<std::unique_ptr<ThreadPool>> pool =
      ThreadPool::create(threads, Cpus::available());
  EXPECT_TRUE(pool);
  return std::move(*pool);
}

TEST(ThreadPool, EveryThreadRunsEveryFunctionOnce) {
  for (int64_t threads : {1, 2, 3, 16}) {
    const std::unique_ptr<ThreadPool> pool = makePool(threads);
    EXPECT_EQ(pool->size(), threads);
    std::vector<int> calls(static_cast<size_t>(threads));
    for (int round = 0; round < 300; ++round)
      pool->parallel([&](int64_t thread, int64_t count) {
        EXPECT_EQ(count, threads);
        ++calls[static_cast<size_t>(thread)];
      });
    for (int count : calls)
      EXPECT_EQ(count, 300);
  }
}

TEST(ThreadPool, ThreadsMeetInsideAFunction) {
  // More threads than any test machine has cores idle: they must all be
  // running for a barrier of generated code to end.
  const std::unique_ptr<ThreadPool> pool = makePool(24);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> arrived = 0;
    pool->parallel([&](int64_t, int64_t threads) {
      ++arrived;
      while (arrived < threads)
        sched_yield();
    });
    EXPECT_EQ(arrived, 24);
  }
}

TEST(ThreadPool, WakesThreadsThatFellAsleep) {
  const std::unique_ptr<ThreadPool> pool = makePool(2);
  for (int round = 0; round < 5; ++round) {
    usleep(3000);
    std::atomic<int> calls = 0;
    pool->parallel([&](int64_t, int64_t) { ++calls; });
    EXPECT_EQ(calls, 2);
  }
}

TEST(ThreadPool, WaitsForSlowThreads) {
  const std::unique_ptr<ThreadPool> pool = makePool(3);
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> finished = 0;
    pool->parallel([&](int64_t thread, int64_t) {
      if (thread > 0)
        usleep(2000);
      ++finished;
    });
    EXPECT_EQ(finished, 3);
  }
}

/// The nodes of the threads of a pool.
static std::vector<int64_t> nodesOf(int64_t threads, const Cpus &cpus) {
  Result<std::unique_ptr<ThreadPool>> pool = ThreadPool::create(threads, cpus);
  std::vector<int64_t> nodes;
  for (int64_t thread = 0; thread < threads; ++thread)
    nodes.push_back((*pool)->nodeOf(thread));
  EXPECT_EQ((*pool)->nodes(), nodes.back() + 1);
  return nodes;
}

TEST(ThreadPool, SpreadsThreadsOverNodes) {
  using Nodes = std::vector<int64_t>;
  // Processors that do not exist cannot be bound to, which changes nothing here.
  const Cpus even = {{0, 1, 2, 3, 4, 5, 6, 7},
                     {{0, 1, 4, 5}, {2, 3, 6, 7}},
                     {0, 1, 4, 5, 2, 3, 6, 7},
                     8};
  EXPECT_EQ(nodesOf(1, even), Nodes({0}));
  EXPECT_EQ(nodesOf(2, even), Nodes({0, 1}));
  EXPECT_EQ(nodesOf(3, even), Nodes({0, 0, 1}));
  EXPECT_EQ(nodesOf(8, even), Nodes({0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(nodesOf(9, even), Nodes({0, 0, 0, 0, 0, 1, 1, 1, 1}));
  const Cpus odd = {{0, 1, 2, 3}, {{0}, {1, 2, 3}}, {0, 1, 2, 3}, 2};
  EXPECT_EQ(nodesOf(2, odd), Nodes({0, 1}));
  EXPECT_EQ(nodesOf(4, odd), Nodes({0, 1, 1, 1}));
  const Cpus many = {{0, 1, 2}, {{0}, {1}, {2}}, {0, 1, 2}, 3};
  EXPECT_EQ(nodesOf(2, many), Nodes({0, 1}));
  const Cpus one = {{0, 1}, {{0, 1}}, {0, 1}, 2};
  EXPECT_EQ(nodesOf(3, one), Nodes({0, 0, 0}));
}

TEST(ThreadPool, ThreadsKeepToTheirNode) {
  Cpus cpus = Cpus::available();
  if (cpus.all.size() < 2)
    GTEST_SKIP() << "this machine has one processor";
  cpus.nodes = {{cpus.all[0]}, {cpus.all[1]}};
  cpus.cores = {cpus.all[0], cpus.all[1]};
  Result<std::unique_ptr<ThreadPool>> pool = ThreadPool::create(5, cpus);
  ASSERT_TRUE(pool);
  (*pool)->parallel([&](int64_t thread, int64_t) {
    cpu_set_t set;
    sched_getaffinity(0, sizeof(set), &set);
    EXPECT_EQ(CPU_COUNT(&set), 1);
    EXPECT_TRUE(CPU_ISSET(cpus.all[thread < 3 ? 0 : 1], &set));
  });
}

TEST(ThreadPool, GivesTheCallerItsProcessorsBack) {
  cpu_set_t before, after;
  sched_getaffinity(0, sizeof(before), &before);
  makePool(Cpus::available().defaultThreads());
  sched_getaffinity(0, sizeof(after), &after);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}
