//===- ModuleImage.h - What is in a module of kernels -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_FAKECUDA_MODULEIMAGE_H
#define SPUTNIK_TEST_FAKECUDA_MODULEIMAGE_H

#include "llvm/ADT/StringSet.h"

#include <optional>
#include <string>

namespace sputnik::testing {

/// What a driver that gets PTX or a cubin sees in it.
struct ModuleImage {
  std::string what; ///< Such as `PTX for sm_90a`, `cubin for sm_90`.
  llvm::StringSet<> kernels;

  static bool isCubin(const void *image);
  /// None if `image` is neither, or a cubin that does not run on a chip of
  /// `capability`, 10 * major + minor.
  static std::optional<ModuleImage> read(const void *image, int capability);
};

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_FAKECUDA_MODULEIMAGE_H
