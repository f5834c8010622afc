//===- TileRegisters.h - Matrices in tile registers -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_TILEREGISTERS_H
#define SPUTNIK_CODEGEN_CPU_TILEREGISTERS_H

#include "codegen/cpu/Emit.h"

namespace sputnik::cpu {

/// Instructions of x86's Advanced Matrix Extensions (Intel SDM, volume 1, chapter
/// 18). A tile has up to 16 rows of up to 64 bytes; LLVM assigns the registers and
/// configures them.
class TileRegisters {
public:
  explicit TileRegisters(Emit &emit) : e(emit) {}

  /// Rows of the largest tile, and bytes of its rows.
  static constexpr int64_t kRows = 16, kRowBytes = 64;

  struct Shape {
    int64_t rows, rowBytes;
  };
  mlir::Value zero(Shape shape);
  /// A tile of rows that lie `stride` bytes apart.
  mlir::Value load(Shape shape, mlir::Value address, mlir::Value stride);
  void store(Shape shape, mlir::Value tile, mlir::Value address,
             mlir::Value stride);

  /// sum[16][16], as i32 or f32, plus a times b: `a` has `bytes` in each of 16
  /// rows; row i of `b` has elements of rows i * n to i * n + n - 1 of the matrix
  /// side by side for each of 16 columns, where n elements take 4 bytes.
  enum class Element { SignedByte, BF16 };
  mlir::Value multiply(Element element, int64_t bytes, mlir::Value sum,
                       mlir::Value a, mlir::Value b);

private:
  mlir::Value i16(int64_t value);
  mlir::Type tileType();

  Emit &e;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_TILEREGISTERS_H
