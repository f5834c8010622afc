//===- Profile.cpp - When regions ran, by thread --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Profile.h"
#include "runtime/Files.h"

#include <algorithm>

namespace sputnik::rt {

/// How many times each thread keeps: some hundred steps of a deep model.
static constexpr uint64_t capacity = uint64_t{1} << 17;
static_assert((capacity & (capacity - 1)) == 0);

Result<Profile> Profile::create(const abi::Model &model, int64_t threads) {
  if (model.regionCount == 0)
    return Error{"--profile: the model was compiled without --profile"};
  Profile profile(model);
  const auto count = static_cast<uint64_t>(threads);
  Result<Mapping> memory = Mapping::anonymous(
      count * capacity * sizeof(abi::RegionTime), "the profile");
  if (!memory)
    return memory.error();
  profile.memory = std::move(*memory);
  auto *times = reinterpret_cast<abi::RegionTime *>(profile.memory.data());
  for (uint64_t thread = 0; thread < count; ++thread)
    profile.profiles.push_back({times + thread * capacity, capacity - 1, 0});
  return profile;
}

uint64_t Profile::kept() const {
  uint64_t least = capacity;
  for (const abi::ThreadProfile &profile : profiles)
    least = std::min(least, profile.count);
  return least;
}

const abi::RegionTime &Profile::time(size_t thread, uint64_t age) const {
  const abi::ThreadProfile &profile = profiles[thread];
  return profile.times[(profile.count - 1 - age) & profile.mask];
}

Status Profile::writeTrace(const std::string &path) const {
  Result<OutputFile> file = OutputFile::create(path);
  if (!file)
    return file.error();
  const uint64_t count = kept();
  const bool isDevice = model->accelerator;
  uint64_t start = UINT64_MAX;
  for (size_t thread = 0; count > 0 && thread < profiles.size(); ++thread)
    start = std::min(start, time(thread, count - 1).begin);

  std::string text = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
  for (size_t thread = 0; thread < profiles.size(); ++thread) {
    text += format("%s\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,"
                   "\"tid\":%zu,\"args\":{\"name\":\"%s %zu\"}}",
                   thread ? "," : "", thread, isDevice ? "GPU" : "thread",
                   thread);
    for (uint64_t age = count; age-- > 0;) {
      const abi::RegionTime &region = time(thread, age);
      const abi::Region &known = model->regions[region.region];
      const std::string layer =
          region.layer == abi::kNoLayer
              ? ""
              : format(",\"args\":{\"layer\":%u}", region.layer);
      text += format(",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\","
                     "\"pid\":1,\"tid\":%zu,\"ts\":%.3f,\"dur\":%.3f%s}",
                     known.name, known.phase, thread,
                     static_cast<double>(region.begin - start) * 1e-3,
                     static_cast<double>(region.end - region.begin) * 1e-3,
                     layer.c_str());
    }
    if (Status status = file->write(text); !status)
      return status;
    text.clear();
  }
  if (Status status = file->write("\n]}\n"); !status)
    return status;
  return file->commit();
}

namespace {
/// What is known of the runs of one region.
struct Runs {
  std::vector<double> microseconds;
  double total = 0; ///< Sum of microseconds.
  double busy = 0;  ///< Of all threads.
};
} // namespace

static double median(std::vector<double> &values) {
  const auto middle = values.begin() +
                      static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<Profile::Summary> Profile::summaries() const {
  std::vector<Runs> runs(model->regionCount);
  double total = 0;
  for (uint64_t age = kept(); age-- > 0;) {
    uint64_t begin = UINT64_MAX, end = 0;
    double busy = 0;
    for (size_t thread = 0; thread < profiles.size(); ++thread) {
      const abi::RegionTime &own = time(thread, age);
      begin = std::min(begin, own.begin);
      end = std::max(end, own.end);
      busy += static_cast<double>(own.end - own.begin) * 1e-3;
    }
    const double microseconds = static_cast<double>(end - begin) * 1e-3;
    Runs &region = runs[time(0, age).region];
    region.microseconds.push_back(microseconds);
    region.total += microseconds;
    region.busy += busy;
    total += microseconds;
  }
  std::vector<Summary> summaries;
  for (size_t i = 0; i < runs.size(); ++i)
    if (!runs[i].microseconds.empty())
      summaries.push_back(
          {&model->regions[i], runs[i].microseconds.size(),
           median(runs[i].microseconds),
           1 - runs[i].busy / (runs[i].total *
                               static_cast<double>(profiles.size())),
           runs[i].total / total});
  return summaries;
}

std::string Profile::table() const {
  std::string text = format("%-8s %-28s %8s %11s %8s %7s %7s\n", "phase",
                            "region", "runs", "median us", "GB/s", "idle %",
                            "time %");
  for (const Summary &summary : summaries()) {
    const abi::Region &region = *summary.region;
    const std::string rate =
        region.weightBytes
            ? format("%.1f", static_cast<double>(region.weightBytes) * 1e-3 /
                                 summary.medianMicroseconds)
            : "-";
    text += format("%-8s %-28s %8llu %11.1f %8s %7.1f %7.1f\n", region.phase,
                   region.name, static_cast<unsigned long long>(summary.runs),
                   summary.medianMicroseconds, rate.c_str(),
                   summary.idle * 100, summary.part * 100);
  }
  return text;
}

} // namespace sputnik::rt
