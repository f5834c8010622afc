//===- Files.cpp - Writing output -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace sputnik::rt {

static Error systemError(const std::string &name, int errorNumber) {
  return {name + ": " + systemMessage(errorNumber)};
}

Status writeAll(int descriptor, std::string_view text,
                const std::string &name) {
  while (!text.empty()) {
    const ssize_t size = write(descriptor, text.data(), text.size());
    if (size < 0) {
      if (errno == EINTR)
        continue;
      return systemError(name, errno);
    }
    text.remove_prefix(static_cast<size_t>(size));
  }
  return {};
}

Status print(std::string_view text) {
  return writeAll(STDOUT_FILENO, text, "standard output");
}

Result<OutputFile> OutputFile::create(const std::string &path) {
  struct stat existing;
  const bool direct =
      stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode);
  const std::string temporary =
      direct ? std::string() : path + ".tmp" + std::to_string(getpid());
  const int descriptor =
      direct ? open(path.c_str(), O_WRONLY | O_CLOEXEC)
             : open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                    0666);
  if (descriptor < 0)
    return systemError(path, errno);
  return OutputFile(descriptor, path, temporary);
}

OutputFile::OutputFile(OutputFile &&other) noexcept
    : descriptor(std::exchange(other.descriptor, -1)),
      path(std::move(other.path)),
      temporaryPath(std::move(other.temporaryPath)) {}

OutputFile::~OutputFile() {
  if (descriptor < 0)
    return;
  close(descriptor);
  if (!temporaryPath.empty())
    unlink(temporaryPath.c_str());
}

Status OutputFile::write(std::string_view bytes) {
  return writeAll(descriptor, bytes, path);
}

Status OutputFile::commit() {
  const int closed = close(std::exchange(descriptor, -1));
  int error = closed == 0 ? 0 : errno;
  if (error == 0 && !temporaryPath.empty() &&
      std::rename(temporaryPath.c_str(), path.c_str()) != 0)
    error = errno;
  if (error == 0)
    return {};
  if (!temporaryPath.empty())
    unlink(temporaryPath.c_str());
  return systemError(path, error);
}

} // namespace sputnik::rt
