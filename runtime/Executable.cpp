//===- Executable.cpp - The file that this process runs from --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Executable.h"

#include <climits>
#include <link.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sputnik::rt {

std::string executablePath() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  if (size > 0 && static_cast<size_t>(size) < sizeof(path))
    return std::string(path, static_cast<size_t>(size));
  const auto *started = reinterpret_cast<const char *>(getauxval(AT_EXECFN));
  return started ? started : "";
}

namespace {
/// The segment that holds an address.
struct SegmentSearch {
  uint64_t address;
  bool found = false;
  uint64_t bytesBehind = 0; ///< Bytes from the address to the segment's end.
  uint64_t fileOffset = 0;  ///< Of the address.
};
} // namespace

Status checkMappedFromExecutable(const uint8_t *address, uint64_t bytes,
                                 const std::string &path) {
  SegmentSearch search{reinterpret_cast<uint64_t>(address)};
  dl_iterate_phdr(
      [](dl_phdr_info *object, size_t, void *argument) {
        auto &search = *static_cast<SegmentSearch *>(argument);
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto &segment = object->dlpi_phdr[i];
          const uint64_t begin = object->dlpi_addr + segment.p_vaddr;
          if (segment.p_type != PT_LOAD || search.address < begin ||
              search.address - begin >= segment.p_filesz)
            continue;
          const uint64_t distance = search.address - begin;
          search.found = true;
          search.bytesBehind = segment.p_filesz - distance;
          search.fileOffset = segment.p_offset + distance;
          return 1;
        }
        return 0;
      },
      &search);
  if (!search.found || search.bytesBehind < bytes)
    return SPUTNIK_ERROR(
        "%s: the embedded weights have %llu bytes, expected %llu", path.c_str(),
        static_cast<unsigned long long>(search.bytesBehind),
        static_cast<unsigned long long>(bytes));
  struct stat status;
  if (path.empty() || stat(path.c_str(), &status) != 0)
    return {};
  const auto fileSize = static_cast<uint64_t>(status.st_size);
  if (fileSize < search.fileOffset || fileSize - search.fileOffset < bytes)
    return SPUTNIK_ERROR(
        "%s: the file has %llu bytes, expected at least %llu: it was cut short",
        path.c_str(), static_cast<unsigned long long>(fileSize),
        static_cast<unsigned long long>(search.fileOffset + bytes));
  return {};
}

} // namespace sputnik::rt
