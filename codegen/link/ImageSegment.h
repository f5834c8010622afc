//===- ImageSegment.h - Room for the weights in a linked file --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The weight image is one read-only segment of the executable: the last thing
// in the file, and far from everything else in memory. It is added after the
// link, so the linker neither reads it nor needs to know its size.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_CODEGEN_LINK_IMAGESEGMENT_H
#define SPUTNIK_CODEGEN_LINK_IMAGESEGMENT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <vector>

namespace sputnik {

/// The section where the runtime keeps room for a longer table of program
/// headers.
inline constexpr llvm::StringLiteral kHeadersSection = ".sputnik.headers";

/// Where the image is mapped: beyond what the small code model reaches, and no
/// farther, because user-mode emulators keep books on all the space between.
inline constexpr uint64_t kImageAddress = uint64_t(1) << 32;

/// Alignment in the file and in memory, so that huge pages can map the weights.
inline constexpr uint64_t kImageAlignment = uint64_t(2) << 20;

/// A linked file with an image segment of its final size, but not its bytes.
struct ImageLayout {
  std::vector<uint8_t> head; ///< Everything before the image.
  uint64_t imageOffset;      ///< Where the image starts; at least head's size.
};

/// Adds a segment of \p imageBytes bytes at kImageAddress to \p linked, a
/// 64-bit little-endian ELF executable with a kHeadersSection. Its file offset
/// is a multiple of \p alignment. Fails when the file is not of that form.
llvm::Expected<ImageLayout> addImageSegment(llvm::ArrayRef<uint8_t> linked,
                                            uint64_t imageBytes,
                                            uint64_t alignment);

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_LINK_IMAGESEGMENT_H
