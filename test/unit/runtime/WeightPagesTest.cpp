//===- WeightPagesTest.cpp - Tests of whose memory weights lie in ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/WeightPages.h"
#include "runtime/ThreadPool.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <numeric>

namespace sputnik::rt {

namespace {

constexpr uint64_t page = WeightPages::pageBytes;
constexpr int64_t nobody = -1;

/// A machine that has these many cores on each of its nodes.
Cpus machineOf(const std::vector<int> &coresOfNodes) {
  Cpus cpus;
  for (int cores : coresOfNodes) {
    std::vector<int> node(static_cast<size_t>(cores));
    std::iota(node.begin(), node.end(), static_cast<int>(cpus.all.size()));
    cpus.all.insert(cpus.all.end(), node.begin(), node.end());
    cpus.nodes.push_back(std::move(node));
  }
  cpus.cores = cpus.all;
  cpus.quota = static_cast<int64_t>(cpus.all.size());
  return cpus;
}

struct Weights {
  std::vector<abi::WeightShare> shares;
  uint64_t bytes;
};

/// Which thread reads each byte, or nobody in particular.
std::vector<int64_t> readersOf(const Weights &weights, int64_t threads) {
  std::vector<int64_t> readers(weights.bytes, nobody);
  for (const abi::WeightShare &share : weights.shares)
    for (uint64_t layer = 0; layer < share.layers; ++layer)
      for (uint64_t part = 0; part < share.parts; ++part) {
        const uint64_t units =
            (share.partBytes + share.unitBytes - 1) / share.unitBytes;
        int64_t thread = 0;
        for (uint64_t unit = 0; unit < units; ++unit) {
          while (unit >= units * static_cast<uint64_t>(thread + 1) /
                             static_cast<uint64_t>(threads))
            ++thread;
          const uint64_t at = unit * share.unitBytes;
          std::fill_n(&readers[share.offset + layer * share.layerStride +
                               part * share.partBytes + at],
                      std::min(share.unitBytes, share.partBytes - at), thread);
        }
      }
  return readers;
}

/// Which thread every page belongs to; checks that it is one.
std::vector<int64_t> ownersOf(const Weights &weights, int64_t threads) {
  const WeightPages pages(weights.shares, weights.bytes);
  std::vector<int64_t> owners((weights.bytes + page - 1) / page, nobody);
  for (int64_t thread = 0; thread < threads; ++thread) {
    uint64_t last = 0;
    pages.forOwn(thread, threads, [&](uint64_t begin, uint64_t end) {
      EXPECT_LE(last, begin);
      EXPECT_LT(begin, end);
      EXPECT_EQ(begin % page, 0u);
      EXPECT_TRUE(end % page == 0 || end == weights.bytes) << end;
      last = end;
      for (uint64_t at = begin; at < end; at += page) {
        EXPECT_EQ(owners[at / page], nobody) << "page " << at / page;
        owners[at / page] = thread;
      }
    });
  }
  return owners;
}

/// Two layers of a projection, a vector, experts' matrices and one for each of 5
/// heads, then a head that is nothing's layer, at these sizes of a row.
Weights someWeights(uint64_t row) {
  const uint64_t q = 0, norm = q + 23 * row, up = norm + 64,
                 values = up + 6 * 9 * row, layer = values + 5 * 7 * row + 192,
                 head = 2 * layer + 2 * page;
  return {{{head, 1, 0, 1, 77 * row, 3 * row},
           {q, 2, layer, 1, 23 * row, 4 * row},
           {up, 2, layer, 6, 9 * row, row},
           {values, 2, layer, 1, 35 * row, 7 * row}},
          head + 77 * row + 3 * page + 64};
}

/// Expects every byte on the node of the thread that reads it, as far as pages let.
void expectNear(const Weights &weights, const Cpus &cpus, int64_t threads) {
  Result<std::unique_ptr<ThreadPool>> pool = ThreadPool::create(threads, cpus);
  ASSERT_TRUE(pool);
  const std::vector<int64_t> readers = readersOf(weights, threads),
                             owners = ownersOf(weights, threads);
  for (uint64_t at = 0; at < weights.bytes; at += page) {
    const int64_t owner = owners[at / page];
    ASSERT_NE(owner, nobody) << "page " << at / page;
    std::map<int64_t, uint64_t> counts; // Of bytes by threads.
    int bounds = 0;
    const uint64_t end = std::min(at + page, weights.bytes);
    for (uint64_t i = at; i < end; ++i) {
      bounds += i > at && readers[i] != readers[i - 1];
      if (readers[i] != nobody)
        ++counts[readers[i]];
    }
    if (counts.empty())
      continue;
    EXPECT_TRUE(std::any_of(counts.begin(), counts.end(),
                            [&](const auto &entry) {
                              return (*pool)->nodeOf(entry.first) ==
                                     (*pool)->nodeOf(owner);
                            }))
        << "page " << at / page << " is on a node that reads none of it";
    if (counts.size() == 2 && bounds == 1)
      EXPECT_GE(2 * counts[owner], page) << "page " << at / page;
  }
}

} // namespace

TEST(WeightPages, EveryByteIsOnTheNodeOfTheThreadThatReadsIt) {
  for (const Cpus &cpus :
       {machineOf({4, 4}), machineOf({2, 6, 1}), machineOf({1, 1, 1, 1})})
    for (uint64_t row : {64, 320, 4096, 5056})
      for (int64_t threads : {1, 2, 3, 5, 7, 8, 9, 16, 31, 100}) {
        SCOPED_TRACE(testing::Message()
                     << cpus.nodes.size() << " nodes, rows of " << row
                     << " bytes, " << threads << " threads");
        expectNear(someWeights(row), cpus, threads);
      }
}

TEST(WeightPages, WhatAllReadIsDealtOutEvenly) {
  const Weights weights = {{}, 10 * page + 64};
  std::map<int64_t, int64_t> counts;
  for (int64_t owner : ownersOf(weights, 3))
    ++counts[owner];
  EXPECT_EQ(counts, (std::map<int64_t, int64_t>{{0, 3}, {1, 4}, {2, 4}}));
  EXPECT_TRUE(ownersOf({{}, 0}, 3).empty());
}

TEST(WeightPages, LargePagesAreForLongRuns) {
  const uint64_t large = 16 << 20;
  const WeightPages pages(
      std::vector<abi::WeightShare>{{64, 2, 2 * large, 1, large, 640},
                                    {64 + large, 2, 2 * large, 4, large / 4, 64}},
      64 + 4 * large);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  pages.forLarge(2, [&](uint64_t begin, uint64_t end) {
    ranges.emplace_back(begin, end);
  });
  EXPECT_EQ(ranges, (std::vector<std::pair<uint64_t, uint64_t>>{
                        {0, large}, {2 * large, 3 * large}}));
  pages.forLarge(3, [](uint64_t, uint64_t) { FAIL(); });
}

} // namespace sputnik::rt
