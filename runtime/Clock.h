//===- Clock.h - Time -----------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_CLOCK_H
#define SPUTNIK_RUNTIME_CLOCK_H

#include <cstdint>
#include <ctime>

namespace sputnik::rt {

inline uint64_t nanosecondsOf(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<uint64_t>(now.tv_nsec);
}

inline uint64_t monotonicNanoseconds() {
  return nanosecondsOf(CLOCK_MONOTONIC);
}

/// About when this process began, on the monotonic clock. To be called first
/// thing in main: until then the process has run without waiting, so the
/// processor time that it has used is the time that has passed.
inline uint64_t processStartNanoseconds() {
  return monotonicNanoseconds() - nanosecondsOf(CLOCK_PROCESS_CPUTIME_ID);
}

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_CLOCK_H
