//===- SlabProduct.h - Panels that are unpacked for many rows ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_SLABPRODUCT_H
#define SPUTNIK_CODEGEN_CPU_SLABPRODUCT_H

#include "codegen/cpu/PanelTile.h"
#include "codegen/cpu/Phase.h"
#include "codegen/cpu/TileDot.h"

namespace sputnik::cpu {

/// Activation rows that stand for rows [first, first + count) of `input`. Rows
/// beyond the last stand for the last one again; what comes of them is not used.
llvm::SmallVector<DotPrimitive::Row> tileRows(Phase &phase,
                                              const DotPrimitive &dot,
                                              const Rows &input,
                                              mlir::Value first, int64_t count);

/// The product of a unit of packed panels with many rows. A slab, some columns of
/// a tile's panels, is unpacked once, where that pays, and stays in the first
/// cache while all rows go by; between slabs, the sums of all rows are kept in
/// scratch memory.
class SlabProduct {
public:
  /// A product with `columns` of the rows of `input`, in units of at most
  /// `unitPanels` panels that lie `panelBytes` apart. Reserves scratch memory.
  SlabProduct(Phase &phase, const DotPrimitive &dot, const Rows &input,
              int64_t columns, int64_t panelBytes, int64_t unitPanels,
              Tile tile);

  /// Multiplies the `count` packed panels at `address` with all rows.
  void multiply(mlir::Value address, int64_t count);
  /// Where the sums of a row are, 16 f32 for each panel of the unit. They still
  /// lack the scales of weight rows.
  mlir::Value sumsAt(mlir::Value row);

private:
  void multiplySlab(mlir::Value address, int64_t inUnit, int64_t count,
                    mlir::Value index, int64_t width);
  void unpackSlab(const PanelGroup &packed, const PanelGroup &unpacked,
                  mlir::Value index, int64_t width);
  void clearSums();
  void prefetchNext(const PanelGroup &packed, mlir::Value index);
  void multiplyTile(const PanelGroup &panels, mlir::Value row,
                    mlir::Value tileSums, mlir::Value index, int64_t width);
  void multiplyInTiles(const PanelGroup &panels, mlir::Value row,
                       mlir::Value tileSums, mlir::Value index, int64_t width);

  Phase &p;
  DotPrimitive dot;
  Rows input;
  int64_t columns, panelBytes, unitPanels;
  Tile tile;
  /// Unpacked columns of a tile's panels; sums, [rows][unitPanels][16].
  mlir::Value slab, sums;
  /// Where tile registers are used, memory that they need.
  mlir::Value tileBuffer;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_SLABPRODUCT_H
