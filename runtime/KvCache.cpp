//===- KvCache.cpp - Memory of the conversations --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/KvCache.h"

namespace sputnik::rt {

Result<KvCache> KvCache::create(const abi::Model &model, int64_t slots) {
  const std::string what = format("the cache of %lld positions",
                                  static_cast<long long>(model.maxContext));
  KvCache cache;
  for (int64_t slot = 0; slot < slots; ++slot) {
    Result<Mapping> mapping =
        Mapping::anonymous(model.cacheBytes, what.c_str());
    if (!mapping)
      return mapping.error();
    cache.addresses.push_back(mapping->data());
    cache.caches.push_back(std::move(*mapping));
  }
  return cache;
}

void KvCache::clear(int64_t slot) {
  Mapping &cache = caches[static_cast<size_t>(slot)];
  cache.discard(0, cache.size());
}

} // namespace sputnik::rt
