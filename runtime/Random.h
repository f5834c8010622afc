//===- Random.h - The random numbers that sampling draws ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_RANDOM_H
#define SPUTNIK_RUNTIME_RANDOM_H

#include <cstdint>

namespace sputnik::rt {

/// SplitMix64 (Steele, Lea and Flood 2014): the same numbers from a seed on
/// every platform.
class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}

  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }

  /// Uniform in [0, 1), a multiple of 2^-53.
  double nextUnit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  /// Random(getState()) gives the numbers that this one would.
  uint64_t getState() const { return state; }

private:
  uint64_t state;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_RANDOM_H
