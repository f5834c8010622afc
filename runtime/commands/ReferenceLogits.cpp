//===- ReferenceLogits.cpp - Logits that another program wrote ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/ReferenceLogits.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace sputnik::rt {

Result<ReferenceLogits> ReferenceLogits::open(const std::string &path,
                                              int64_t rows, int64_t vocabSize) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return Error{path + ": " + systemMessage(errno)};
  ReferenceLogits reference(descriptor, path, vocabSize);
  struct stat file;
  if (fstat(descriptor, &file) != 0)
    return Error{path + ": " + systemMessage(errno)};
  if (!S_ISREG(file.st_mode))
    return Error{path + ": is not a file, expected one that `logits` wrote"};
  const int64_t bytes = rows * vocabSize * static_cast<int64_t>(sizeof(float));
  if (file.st_size != bytes)
    return SPUTNIK_ERROR("%s: has %lld bytes, expected %lld: %lld rows of %lld "
                         "logits",
                         path.c_str(), static_cast<long long>(file.st_size),
                         static_cast<long long>(bytes),
                         static_cast<long long>(rows),
                         static_cast<long long>(vocabSize));
  return reference;
}

ReferenceLogits::ReferenceLogits(ReferenceLogits &&other) noexcept
    : descriptor(std::exchange(other.descriptor, -1)),
      path(std::move(other.path)), vocabSize(other.vocabSize) {}

ReferenceLogits::~ReferenceLogits() {
  if (descriptor >= 0)
    close(descriptor);
}

Status ReferenceLogits::read(int64_t first, std::span<float> logits) const {
  auto *bytes = reinterpret_cast<char *>(logits.data());
  size_t left = logits.size_bytes();
  off_t offset = first * vocabSize * static_cast<off_t>(sizeof(float));
  while (left > 0) {
    const ssize_t size = pread(descriptor, bytes, left, offset);
    if (size < 0 && errno == EINTR)
      continue;
    if (size <= 0)
      return Error{path + ": " +
                   (size < 0 ? systemMessage(errno)
                             : std::string("has become shorter"))};
    bytes += size;
    offset += size;
    left -= static_cast<size_t>(size);
  }
  return {};
}

} // namespace sputnik::rt
