//===- InputFile.h - A file of the user, mapped read-only -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_INPUTFILE_H
#define SPUTNIK_IMPORTER_INPUTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"

#include <cstdint>
#include <string>

namespace sputnik {

/// A regular file mapped for reading: its pages stay the file system's, so a
/// large checkpoint costs no anonymous memory. The address does not change when
/// the object is moved.
class InputFile {
public:
  /// Errors, all `path: ...`: no such file, not readable, not a regular file
  /// (a folder, a pipe, a device: none of them is opened), larger than
  /// `maxBytes`.
  static llvm::Expected<InputFile> open(llvm::StringRef path,
                                        uint64_t maxBytes = UINT64_MAX);

  llvm::StringRef path() const { return filePath; }
  uint64_t size() const { return text().size(); }
  const uint8_t *data() const {
    return reinterpret_cast<const uint8_t *>(text().data());
  }
  llvm::ArrayRef<uint8_t> bytes() const { return {data(), text().size()}; }
  llvm::StringRef text() const {
    return region ? llvm::StringRef(region.const_data(), region.size())
                  : llvm::StringRef();
  }

private:
  std::string filePath;
  llvm::sys::fs::mapped_file_region region;
};

/// The bound on files that are read as text: configurations, tokenizers, index
/// files. The largest known is the index of DeepSeek-R1, about 10 MB.
inline constexpr uint64_t maxTextFileBytes = 256u << 20;

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_INPUTFILE_H
