//===- RegionRates.cpp - What kernels reach of what a device can ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/RegionRates.h"

#include <algorithm>
#include <cstring>

namespace sputnik::rt {

std::vector<RegionRate> rateRegions(const Profile &profile,
                                    const DevicePeaks &peaks,
                                    const StepLoad &decode,
                                    const StepLoad &prefill) {
  std::vector<RegionRate> rates;
  for (const Profile::Summary &summary : profile.summaries()) {
    const abi::Region &region = *summary.region;
    // A step that checks guesses, or makes them, has few rows, too.
    const bool many = std::strstr(region.phase, "prefill");
    const StepLoad &load = many ? prefill : decode;
    const double rows = region.perOutput ? 1 : load.rows;
    // Noise must not make a short kernel one that takes no time.
    const double seconds = std::max(
        summary.medianMicroseconds * 1e-6 - peaks.launchSeconds, 1e-7);
    const double bytes =
        static_cast<double>(region.weightBytes) +
        static_cast<double>(region.positionBytes) * load.positions;
    const double operations =
        2 * rows *
        (static_cast<double>(region.macs) +
         static_cast<double>(region.positionMacs) * load.positions);
    RegionRate rate = {.region = &region,
                       .runs = summary.runs,
                       .microseconds = summary.medianMicroseconds,
                       .bytes = bytes,
                       .bytesPerSecond = bytes / seconds,
                       .operationsPerSecond = operations / seconds,
                       .fraction = 0,
                       .part = summary.part};
    rate.fraction =
        std::max(rate.bytesPerSecond / peaks.readBytesPerSecond,
                 rate.operationsPerSecond / peaks.dotOperationsPerSecond);
    rates.push_back(rate);
  }
  return rates;
}

std::string tableOf(const std::vector<RegionRate> &rates,
                    const DevicePeaks &peaks) {
  std::string text =
      format("%-8s %-28s %8s %11s %8s %8s %7s %7s\n", "phase", "region",
             "runs", "median us", "GB/s", "TOP/s", "limit %", "time %");
  const auto rateOrNone = [](double rate) {
    return rate > 0 ? format("%.1f", rate) : std::string("-");
  };
  for (const RegionRate &rate : rates)
    text += format("%-8s %-28s %8llu %11.1f %8s %8s %7.1f %7.1f\n",
                   rate.region->phase, rate.region->name,
                   static_cast<unsigned long long>(rate.runs),
                   rate.microseconds,
                   rateOrNone(rate.bytesPerSecond * 1e-9).c_str(),
                   rateOrNone(rate.operationsPerSecond * 1e-12).c_str(),
                   rate.fraction * 100, rate.part * 100);
  return text + format("limits: %.1f GB/s read, %.1f TOP/s; of a median, %.1f us "
                       "are a kernel that does nothing, which rates leave out\n",
                       peaks.readBytesPerSecond * 1e-9,
                       peaks.dotOperationsPerSecond * 1e-12,
                       peaks.launchSeconds * 1e6);
}

} // namespace sputnik::rt
