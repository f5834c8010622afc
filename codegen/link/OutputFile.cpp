//===- OutputFile.cpp - Files that appear whole or not at all -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/link/OutputFile.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Signals.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

using namespace llvm;

namespace sputnik {

static Error error(StringRef path, const Twine &message) {
  return createStringError(Twine(path) + ": " + message);
}

Expected<OutputFile> OutputFile::create(StringRef path, bool executable) {
  static const bool ignored = std::signal(SIGXFSZ, SIG_IGN) != SIG_ERR;
  (void)ignored;

  sys::fs::file_status status;
  if (!sys::fs::status(path, status)) {
    if (sys::fs::is_directory(status))
      return error(path, "is a folder, expected the name of a file to write");
    if (!sys::fs::is_regular_file(status))
      return error(path, "exists and is not a regular file");
  }

  unsigned mode = sys::fs::all_read | sys::fs::all_write;
  if (executable)
    mode |= sys::fs::all_exe;
  int descriptor = -1;
  SmallString<256> temporary;
  if (std::error_code code =
          sys::fs::createUniqueFile(path + ".tmp-%%%%%%%%", descriptor,
                                    temporary, sys::fs::OF_None, mode))
    return error(path, "cannot be written: " + code.message());
  sys::RemoveFileOnSignal(temporary);
  return OutputFile(path, temporary, descriptor);
}

OutputFile::OutputFile(OutputFile &&other)
    : destination(std::move(other.destination)),
      temporary(std::move(other.temporary)),
      descriptor(std::exchange(other.descriptor, -1)),
      reserved(other.reserved) {
  other.temporary.clear();
}

OutputFile &OutputFile::operator=(OutputFile &&other) {
  std::swap(destination, other.destination);
  std::swap(temporary, other.temporary);
  std::swap(descriptor, other.descriptor);
  std::swap(reserved, other.reserved);
  return *this;
}

OutputFile::~OutputFile() { discard(); }

void OutputFile::discard() {
  if (descriptor >= 0)
    ::close(std::exchange(descriptor, -1));
  if (temporary.empty())
    return;
  (void)sys::fs::remove(temporary);
  sys::DontRemoveFileOnSignal(temporary);
  temporary.clear();
}

Error OutputFile::failure(int number) const {
  std::string reason = std::generic_category().message(number);
  if ((number == ENOSPC || number == EDQUOT || number == EFBIG) && reserved)
    reason += " (need " + std::to_string(reserved) + " bytes)";
  return error(destination, reason);
}

Error OutputFile::write(uint64_t offset, ArrayRef<uint8_t> bytes) const {
  // Linux moves at most 2 GiB less a page in one call.
  constexpr size_t kMostBytes = size_t(1) << 30;
  while (!bytes.empty()) {
    ssize_t written = ::pwrite(descriptor, bytes.data(),
                               std::min(bytes.size(), kMostBytes), offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return failure(errno);
    bytes = bytes.drop_front(written);
    offset += written;
  }
  return Error::success();
}

Error OutputFile::reserve(uint64_t size) {
  reserved = size;
  if (size > uint64_t(INT64_MAX))
    return failure(EFBIG);
  // Asked first, because a reservation that fails may take all there is from
  // other programs for as long as it tries.
  ErrorOr<sys::fs::space_info> space = sys::fs::disk_space(temporary);
  if (space && space->available < size)
    return failure(ENOSPC);
  if (::ftruncate(descriptor, size))
    return failure(errno);
  // Not posix_fallocate, which writes every block where the file system has no
  // reservation.
  int result;
  do
    result = size ? ::fallocate(descriptor, 0, 0, size) : 0;
  while (result && errno == EINTR);
  if (result && errno != EOPNOTSUPP && errno != ENOSYS)
    return failure(errno);
  return Error::success();
}

Error OutputFile::commit() {
  // A network or quota file system may report a failed write only here.
  if (::close(std::exchange(descriptor, -1)))
    return failure(errno);
  if (std::error_code code = sys::fs::rename(temporary, destination))
    return error(destination, "cannot be written: " + code.message());
  sys::DontRemoveFileOnSignal(temporary);
  temporary.clear();
  return Error::success();
}

} // namespace sputnik
