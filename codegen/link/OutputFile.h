//===- OutputFile.h - Files that appear whole or not at all ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_LINK_OUTPUTFILE_H
#define SPUTNIK_CODEGEN_LINK_OUTPUTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>

namespace sputnik {

/// A file that is written beside its destination and renamed into place. Unless
/// commit() succeeds the destination stays as it was: the temporary file is
/// removed by the destructor, or by a signal that ends the process.
class OutputFile {
public:
  /// Opens a new temporary file in the folder of \p path. The first call also
  /// makes the process ignore SIGXFSZ, so that a file size limit is an error
  /// and not the end of the process.
  static llvm::Expected<OutputFile> create(llvm::StringRef path,
                                           bool executable);

  OutputFile(OutputFile &&other);
  OutputFile &operator=(OutputFile &&other);
  ~OutputFile();

  /// Writes \p bytes at \p offset. Threads may write disjoint ranges.
  llvm::Error write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) const;

  /// Makes the file \p size bytes long and, where the file system can, reserves
  /// the space, so that a full disk is found before the work is done.
  llvm::Error reserve(uint64_t size);

  /// Closes the file and renames it to its destination.
  llvm::Error commit();

  /// Where the bytes are until commit().
  llvm::StringRef temporaryPath() const { return temporary; }
  /// The destination.
  llvm::StringRef path() const { return destination; }

private:
  OutputFile(llvm::StringRef path, llvm::StringRef temporary, int descriptor)
      : destination(path), temporary(temporary), descriptor(descriptor) {}
  void discard();
  llvm::Error failure(int error) const;

  std::string destination, temporary;
  int descriptor = -1;
  uint64_t reserved = 0;
};

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_LINK_OUTPUTFILE_H
