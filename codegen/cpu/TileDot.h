//===- TileDot.h - Panels times rows in tile registers ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_TILEDOT_H
#define SPUTNIK_CODEGEN_CPU_TILEDOT_H

#include "codegen/cpu/DotPrimitive.h"
#include "codegen/cpu/TileRegisters.h"

namespace sputnik::cpu {

/// Products of panels with 16 activation rows at a time. A panel's lines are the
/// rows of a tile as they are: a line holds, for each of 16 weight rows, the same
/// four bytes' worth of columns.
class TileDot {
public:
  static constexpr int64_t kRows = TileRegisters::kRows;

  /// `dot` uses tiles and, where it unpacks panels, reads unpacked ones. `buffer`
  /// is scratch memory of kBufferBytes.
  TileDot(Emit &emit, const DotPrimitive &dot, mlir::Value buffer)
      : e(emit), tiles(emit), dot(dot), buffer(buffer) {}
  static constexpr int64_t kBufferBytes =
      TileRegisters::kRows * TileRegisters::kRowBytes;

  /// 16 activation rows: the first, and bytes from one to the next.
  struct RowBlock {
    DotPrimitive::Row first;
    mlir::Value stride;
  };

  /// `sums` of 16 weight rows for each activation row, and the products with
  /// chunk `chunk`, scaled, of a scheme with blocks.
  llvm::SmallVector<mlir::Value> addChunk(const DotPrimitive::Panel &panel,
                                          const RowBlock &rows,
                                          mlir::Value chunk,
                                          mlir::ValueRange sums);
  /// Adds the products with `width` columns from `column` on, of a scheme without
  /// blocks, to sums in memory: those of panel i are 64 bytes for each row from
  /// `sums` + 64 i on, `sumStride` apart. `width` is even.
  void addColumns(llvm::ArrayRef<DotPrimitive::Panel> panels,
                  const RowBlock &rows, mlir::Value column, int64_t width,
                  mlir::Value sums, mlir::Value sumStride);

private:
  TileRegisters::Element element() const;

  Emit &e;
  TileRegisters tiles;
  DotPrimitive dot;
  mlir::Value buffer;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_TILEDOT_H
