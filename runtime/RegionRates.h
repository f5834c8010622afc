//===- RegionRates.h - What kernels reach of what a device can ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_REGIONRATES_H
#define SPUTNIK_RUNTIME_REGIONRATES_H

#include "runtime/Profile.h"

namespace sputnik::rt {

/// What a device can do at most, see abi::DeviceLimit.
struct DevicePeaks {
  double readBytesPerSecond, dotOperationsPerSecond;
  double launchSeconds; ///< What the time of a kernel that does nothing is.
};

/// The rows of a step, and how many positions each attends to on average.
struct StepLoad {
  double rows = 1, positions = 1;
};

/// One kernel of a phase. Rates are of its own time, without the launch.
struct RegionRate {
  const abi::Region *region;
  uint64_t runs;
  double microseconds; ///< Median, with the launch.
  double bytes;        ///< Of weights and of the cache, for one run.
  double bytesPerSecond, operationsPerSecond;
  double fraction; ///< Of the limit that is nearer.
  double part;     ///< Of the time of all.
};

/// In the order of the code. Steps of a prompt are `prefill`, all others
/// `decode`.
std::vector<RegionRate> rateRegions(const Profile &profile,
                                    const DevicePeaks &peaks,
                                    const StepLoad &decode,
                                    const StepLoad &prefill);

/// The rates as a table.
std::string tableOf(const std::vector<RegionRate> &rates,
                    const DevicePeaks &peaks);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_REGIONRATES_H
