//===- Mapping.cpp - Memory mapped from the kernel ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Mapping.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace sputnik::rt {

Mapping::Mapping(Mapping &&other) noexcept
    : begin(std::exchange(other.begin, nullptr)),
      bytes(std::exchange(other.bytes, 0)) {}

Mapping &Mapping::operator=(Mapping &&other) noexcept {
  std::swap(begin, other.begin);
  std::swap(bytes, other.bytes);
  return *this;
}

Mapping::~Mapping() {
  if (begin)
    munmap(begin, bytes);
}

Result<Mapping> Mapping::anonymous(uint64_t bytes, const char *what) {
  if (bytes == 0)
    return Mapping();
  void *address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED)
    return SPUTNIK_ERROR("cannot reserve %llu bytes for %s: %s",
                         static_cast<unsigned long long>(bytes), what,
                         systemMessage(errno).c_str());
  return Mapping(static_cast<uint8_t *>(address), bytes);
}

Result<Mapping> Mapping::file(const std::string &path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return SPUTNIK_ERROR("%s: %s", path.c_str(), systemMessage(errno).c_str());
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    return SPUTNIK_ERROR("%s: not a regular file", path.c_str());
  }
  if (status.st_size == 0) {
    close(descriptor);
    return SPUTNIK_ERROR("%s: the file is empty", path.c_str());
  }
  const auto bytes = static_cast<uint64_t>(status.st_size);
  void *address = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  const int mapError = errno;
  close(descriptor);
  if (address == MAP_FAILED)
    return SPUTNIK_ERROR("%s: cannot map %llu bytes: %s", path.c_str(),
                         static_cast<unsigned long long>(bytes),
                         systemMessage(mapError).c_str());
  return Mapping(static_cast<uint8_t *>(address), bytes);
}

void Mapping::discard(uint64_t offset, uint64_t length) {
  if (begin && length > 0)
    madvise(begin + offset, length, MADV_DONTNEED);
}

// Both are only hints: the memory is as good without.
void preferLargePages(const uint8_t *begin, uint64_t bytes) {
  if (bytes > 0)
    madvise(const_cast<uint8_t *>(begin), bytes, MADV_HUGEPAGE);
}

void preferSmallPages(const uint8_t *begin, uint64_t bytes) {
  if (bytes > 0)
    madvise(const_cast<uint8_t *>(begin), bytes, MADV_NOHUGEPAGE);
}

void dropPages(const uint8_t *begin, uint64_t bytes) {
  constexpr uintptr_t page = 4096;
  const auto from = reinterpret_cast<uintptr_t>(begin) / page * page;
  const auto to =
      (reinterpret_cast<uintptr_t>(begin) + bytes + page - 1) / page * page;
  if (bytes > 0)
    madvise(reinterpret_cast<void *>(from), to - from, MADV_DONTNEED);
}

} // namespace sputnik::rt
