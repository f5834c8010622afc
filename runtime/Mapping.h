//===- Mapping.h - Memory mapped from the kernel --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_MAPPING_H
#define SPUTNIK_RUNTIME_MAPPING_H

#include "runtime/Result.h"

#include <cstdint>
#include <string>

namespace sputnik::rt {

/// A range of mapped pages, unmapped when it goes out of scope.
class Mapping {
public:
  Mapping() = default;
  Mapping(Mapping &&other) noexcept;
  Mapping &operator=(Mapping &&other) noexcept;
  ~Mapping();

  /// Zero-filled memory that takes up pages only where it is touched. `what`
  /// names it in the error.
  static Result<Mapping> anonymous(uint64_t bytes, const char *what);
  /// The whole of a regular file, read-only and shared with the page cache.
  static Result<Mapping> file(const std::string &path);

  uint8_t *data() const { return begin; }
  uint64_t size() const { return bytes; }

  /// Gives the pages of [offset, offset + length) back; they read as zeros
  /// again. Only for anonymous memory; `offset` at a page boundary.
  void discard(uint64_t offset, uint64_t length);

private:
  Mapping(uint8_t *begin, uint64_t bytes) : begin(begin), bytes(bytes) {}

  uint8_t *begin = nullptr;
  uint64_t bytes = 0;
};

/// Asks for large pages for mapped memory, where the kernel gives them on
/// request; of a file, they are then also read in large parts.
void preferLargePages(const uint8_t *begin, uint64_t bytes);

/// Asks for pages of the smallest size for mapped memory, so that each may lie in
/// the memory of another node.
void preferSmallPages(const uint8_t *begin, uint64_t bytes);

/// Gives up the memory of all pages of a file that this part of it touches; they
/// are read again where they are needed.
void dropPages(const uint8_t *begin, uint64_t bytes);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_MAPPING_H
