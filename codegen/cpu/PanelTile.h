//===- PanelTile.h - Panels times rows in registers -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_PANELTILE_H
#define SPUTNIK_CODEGEN_CPU_PANELTILE_H

#include "codegen/cpu/DotPrimitive.h"

namespace sputnik::cpu {

/// Panels and activation rows held in registers.
struct Tile {
  int64_t panels, rows;
};

/// The tile for a phase, from the target's registers; `blocks` says whether the
/// weights have scales.
Tile chooseTile(r1::TargetAttr target, r1::PhaseKind phase, bool blocks);

/// Panels and the primitive that reads them.
struct PanelGroup {
  DotPrimitive dot;
  llvm::SmallVector<DotPrimitive::Panel> panels;
  /// Whether the panels come from memory, once: what lies ahead is asked for,
  /// and loads stay in the order of addresses.
  bool streams = false;
};

/// Sums of 16 weight rows, [panel][row].
using TileSums = llvm::SmallVector<llvm::SmallVector<mlir::Value>>;

/// `sums`, [panel * rows + row], and the products of one group of columns, of
/// which `width` exist. Where activations have scales, those are left out.
llvm::SmallVector<mlir::Value>
multiplyGroup(Emit &e, const PanelGroup &panels,
              llvm::ArrayRef<DotPrimitive::Row> rows, mlir::Value group,
              int64_t width, mlir::ValueRange sums);

/// Multiplies panels with rows over all `columns`. A panel's sums are formed in
/// the same order whatever the tile, so that decode and verify agree to the
/// bit. Where panels are read once, for few rows (left open: for one), memory
/// behind them is asked for ahead of its use.
TileSums emitPanelTile(Emit &e, const DotPrimitive &dot, int64_t columns,
                       llvm::ArrayRef<mlir::Value> panelAddresses,
                       llvm::ArrayRef<DotPrimitive::Row> rows,
                       std::optional<bool> readOnce = std::nullopt);

/// Stores the first `count` (any number; at most 16 exist) of 16 f32 lanes.
void storeLanes(Emit &e, mlir::Value value, mlir::Value ptr, mlir::Value count);

/// The numbers of the lanes of a panel, as i32.
mlir::Value laneIndices(Emit &e);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_PANELTILE_H
