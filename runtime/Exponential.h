//===- Exponential.h - e to the power of x, the same everywhere -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_EXPONENTIAL_H
#define SPUTNIK_RUNTIME_EXPONENTIAL_H

#include <bit>
#include <cstdint>

namespace sputnik::rt {

/// exp(x) for x <= 0, to within a few units in the last place; 0 below -700.
/// Unlike the C library's, whose code depends on the processor, the result is
/// the same bit for bit everywhere, and so is what a seed samples.
inline double expNonPositive(double x) {
#pragma STDC FP_CONTRACT OFF
  constexpr double log2e = 1.4426950408889634;
  // ln 2 in two parts; products with the upper one and an exponent are exact.
  constexpr double ln2High = 6.93147180369123816490e-01;
  constexpr double ln2Low = 1.90821492927058770002e-10;
  if (!(x >= -700.0))
    return 0.0;
  const auto exponent = static_cast<int32_t>(x * log2e - 0.5);
  const auto power = static_cast<double>(exponent);
  const double rest = (x - power * ln2High) - power * ln2Low;
  // Taylor series; |rest| <= 0.35, so that the next term is below 2^-53.
  double sum = 1.0 / 6227020800.0;
  sum = sum * rest + 1.0 / 479001600.0;
  sum = sum * rest + 1.0 / 39916800.0;
  sum = sum * rest + 1.0 / 3628800.0;
  sum = sum * rest + 1.0 / 362880.0;
  sum = sum * rest + 1.0 / 40320.0;
  sum = sum * rest + 1.0 / 5040.0;
  sum = sum * rest + 1.0 / 720.0;
  sum = sum * rest + 1.0 / 120.0;
  sum = sum * rest + 1.0 / 24.0;
  sum = sum * rest + 1.0 / 6.0;
  sum = sum * rest + 0.5;
  sum = sum * rest + 1.0;
  sum = sum * rest + 1.0;
  return sum *
         std::bit_cast<double>(static_cast<uint64_t>(static_cast<uint32_t>(exponent + 1023)) << 52);
}

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_EXPONENTIAL_H
