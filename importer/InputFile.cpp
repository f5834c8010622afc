//===- InputFile.cpp - A file of the user, mapped read-only ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/InputFile.h"

#include "importer/InputError.h"

#include "llvm/ADT/ScopeExit.h"

using namespace llvm;
namespace fs = llvm::sys::fs;

namespace sputnik {
namespace {

Error cannot(StringRef path, StringRef what, std::error_code code) {
  return inputError(path, "cannot " + what + ": " + code.message());
}

Error checkRegular(StringRef path, fs::file_type type) {
  switch (type) {
  case fs::file_type::regular_file:
    return Error::success();
  case fs::file_type::directory_file:
    return inputError(path, "is a folder, expected a file");
  case fs::file_type::fifo_file:
    return inputError(path, "is a pipe, expected a regular file");
  default:
    return inputError(path, "is not a regular file");
  }
}

} // namespace

Expected<InputFile> InputFile::open(StringRef path, uint64_t maxBytes) {
  // Opening a pipe waits for its other end, so look before opening.
  fs::file_status status;
  if (std::error_code code = fs::status(path, status))
    return cannot(path, "open", code);
  if (Error error = checkRegular(path, status.type()))
    return error;

  Expected<fs::file_t> handle = fs::openNativeFileForRead(path);
  if (!handle)
    return cannot(path, "open", errorToErrorCode(handle.takeError()));
  scope_exit close([&] { fs::closeFile(*handle); });
  if (std::error_code code = fs::status(*handle, status))
    return cannot(path, "open", code);
  if (Error error = checkRegular(path, status.type()))
    return error;
  if (status.getSize() > maxBytes)
    return inputError(path, "has " + Twine(status.getSize()) +
                                " bytes, expected at most " + Twine(maxBytes));

  InputFile file;
  file.filePath = path.str();
  if (status.getSize() != 0) {
    std::error_code code;
    file.region =
        fs::mapped_file_region(*handle, fs::mapped_file_region::readonly,
                               status.getSize(), /*offset=*/0, code);
    if (code)
      return cannot(path, "map", code);
  }
  return file;
}

} // namespace sputnik
