//===- Files.h - Writing output -------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_FILES_H
#define SPUTNIK_RUNTIME_FILES_H

#include "runtime/Result.h"

#include <string>
#include <string_view>

namespace sputnik::rt {

/// Writes all of `text`; `name` names the file in the error.
Status writeAll(int descriptor, std::string_view text, const std::string &name);

/// Writes all of `text` to standard output.
Status print(std::string_view text);

/// A file that appears under its name only once it is complete: it is written
/// beside it and renamed. Until then an older file stays as it is.
class OutputFile {
public:
  /// Something that is no regular file, such as a pipe, is written directly.
  static Result<OutputFile> create(const std::string &path);
  OutputFile(OutputFile &&other) noexcept;
  OutputFile &operator=(OutputFile &&) = delete;
  /// Removes what was not committed.
  ~OutputFile();

  Status write(std::string_view bytes);
  Status commit();

private:
  OutputFile(int descriptor, std::string path, std::string temporaryPath)
      : descriptor(descriptor), path(std::move(path)),
        temporaryPath(std::move(temporaryPath)) {}

  int descriptor;
  std::string path;
  std::string temporaryPath; ///< Empty if written directly.
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_FILES_H
