//===- Stats.h - What `run --stats` tells -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TEST_MODELS_STATS_H
#define SPUTNIK_TEST_MODELS_STATS_H

#include "gtest/gtest.h"

#include <cstdio>
#include <string>

namespace sputnik {

/// Steps of an answer, and the guesses that they checked.
struct Stats {
  int tokens = 0, steps = 0, right = 0, guesses = 0;
};

/// Reads the line that a run with `--stats` leaves on standard error.
inline Stats readStats(const std::string &err) {
  Stats stats;
  EXPECT_EQ(std::sscanf(err.c_str(),
                        "stats: %d tokens in %d steps, %*f a step; %d of %d",
                        &stats.tokens, &stats.steps, &stats.right,
                        &stats.guesses),
            4)
      << err;
  return stats;
}

} // namespace sputnik

#endif // SPUTNIK_TEST_MODELS_STATS_H
