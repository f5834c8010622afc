//===- KvCache.h - Memory of the conversations ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_KVCACHE_H
#define SPUTNIK_RUNTIME_KVCACHE_H

#include "runtime/Abi.h"
#include "runtime/Mapping.h"
#include "runtime/Result.h"

#include <cstdint>
#include <vector>

namespace sputnik::rt {

/// The caches of all slots. Each is reserved for the full context and takes up
/// memory only as it fills.
class KvCache {
public:
  /// Reserves `slots` caches of Model::cacheBytes.
  static Result<KvCache> create(const abi::Model &model, int64_t slots);

  int64_t slots() const { return static_cast<int64_t>(caches.size()); }
  /// What abi::Step::caches wants.
  uint8_t *const *pointers() const { return addresses.data(); }

  /// Gives the memory of a slot back; it reads as zeros again.
  void clear(int64_t slot);

private:
  std::vector<Mapping> caches;
  std::vector<uint8_t *> addresses;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_KVCACHE_H
