//===- Profile.h - When regions ran, by thread ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_PROFILE_H
#define SPUTNIK_RUNTIME_PROFILE_H

#include "runtime/Abi.h"
#include "runtime/Mapping.h"
#include "runtime/Result.h"

#include <string>
#include <vector>

namespace sputnik::rt {

/// Room for the times of regions that steps note, the latest of each thread,
/// and what they tell.
class Profile {
public:
  /// For steps of `threads` threads. Fails if the model was not compiled to
  /// note times.
  static Result<Profile> create(const abi::Model &model, int64_t threads);

  /// For abi::Step; valid as long as this object lives.
  abi::ThreadProfile *threads() { return profiles.data(); }

  /// Everything noted, in the format of Chrome's trace viewer: an event for
  /// each thread's part in a region, with its phase as category and the layer
  /// as argument.
  Status writeTrace(const std::string &path) const;

  /// What is known of a region that ran.
  struct Summary {
    const abi::Region *region;
    uint64_t runs;
    /// From the first thread's begin to the last thread's end.
    double medianMicroseconds;
    double idle; ///< Part of the threads' time in which they were not there.
    double part; ///< Of the time of all regions.
  };
  /// In the order of the code.
  std::vector<Summary> summaries() const;

  /// The summaries as a table, with the rate at which weights were read.
  std::string table() const;

private:
  explicit Profile(const abi::Model &model) : model(&model) {}

  /// How many regions every thread still has the times of, and the time of the
  /// one that ran `age` regions before the last.
  uint64_t kept() const;
  const abi::RegionTime &time(size_t thread, uint64_t age) const;

  const abi::Model *model;
  Mapping memory;
  std::vector<abi::ThreadProfile> profiles;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_PROFILE_H
