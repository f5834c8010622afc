//===- MappedPages.cpp - Resident pages of mapped files -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/MappedPages.h"

#include "llvm/Support/Process.h"

#include <algorithm>
#include <cerrno>
#include <sys/mman.h>

namespace sputnik {
namespace {

/// madvise on all pages that hold a byte of `bytes`.
int advise(llvm::ArrayRef<uint8_t> bytes, int advice) {
  if (bytes.empty())
    return 0;
  static const uintptr_t page = llvm::sys::Process::getPageSizeEstimate();
  const auto begin = reinterpret_cast<uintptr_t>(bytes.begin()) & ~(page - 1);
  const auto end = reinterpret_cast<uintptr_t>(bytes.end());
  return madvise(reinterpret_cast<void *>(begin), end - begin, advice);
}

} // namespace

bool loadPages(llvm::ArrayRef<uint8_t> bytes) {
#ifdef MADV_POPULATE_READ
  while (advise(bytes, MADV_POPULATE_READ) != 0) {
    if (errno == EINTR || errno == EAGAIN)
      continue;
    // Kernels before 5.14 do not know the advice.
    return errno == EINVAL || errno == ENOSYS;
  }
#endif
  return true;
}

void releasePages(llvm::ArrayRef<uint8_t> bytes,
                  llvm::ArrayRef<uint8_t> mapping) {
  // The kernel maps more around a page that is touched, up to this much.
  constexpr int64_t around = 2 << 20;
  const int64_t begin =
      std::max<int64_t>(bytes.begin() - mapping.begin() - around, 0);
  const int64_t end =
      std::min<int64_t>(bytes.end() - mapping.begin() + around, mapping.size());
  // That the process stays large is no reason to fail.
  (void)advise(mapping.slice(begin, end - begin), MADV_DONTNEED);
}

} // namespace sputnik
