//===- TextInput.cpp - Text from a file or a stream -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/TextInput.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <sys/stat.h>

namespace sputnik::rt {

std::optional<std::string> readText(const std::optional<std::string> &path,
                                    std::istream &input, size_t maxBytes,
                                    std::string &error) {
  const auto fail = [&](std::string_view what) {
    error = path ? *path : std::string("standard input");
    error += ": ";
    error += what;
    return std::nullopt;
  };
  std::ifstream file;
  if (path) {
    struct stat status;
    if (stat(path->c_str(), &status) != 0)
      return fail(std::strerror(errno));
    if (S_ISDIR(status.st_mode))
      return fail("is a folder, expected a text file");
    errno = 0;
    file.open(*path, std::ios::binary);
    if (!file)
      return fail(errno ? std::strerror(errno) : "cannot be opened");
  }
  std::istream &stream = path ? file : input;
  std::string text;
  constexpr size_t part = size_t{1} << 20;
  while (stream) {
    const size_t size = text.size();
    if (size > maxBytes)
      return fail("has more than " + std::to_string(maxBytes) + " bytes");
    text.resize(size + part);
    stream.read(text.data() + size, static_cast<std::streamsize>(part));
    text.resize(size + static_cast<size_t>(stream.gcount()));
  }
  if (stream.bad())
    return fail("cannot be read");
  if (text.size() > maxBytes)
    return fail("has more than " + std::to_string(maxBytes) + " bytes");
  return text;
}

} // namespace sputnik::rt
