//===- FlashAttention.h - Attention of many queries -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_FLASHATTENTION_H
#define SPUTNIK_CODEGEN_CPU_FLASHATTENTION_H

#include "codegen/cpu/FloatPanels.h"

namespace sputnik::cpu {

/// Attention of many queries that see keys and values of one head, tile after
/// tile of positions: two products with tiles of registers, and between them an
/// online softmax in f32. Where the products are in bf16, so are probabilities.
/// What a query gets does not depend on the other queries, if tiles begin at
/// multiples of kTile.
class FlashAttention {
public:
  static constexpr int64_t kPanel = FloatPanels::kPanel;
  /// Positions of a tile: what is read of keys, or of values, while sums are in
  /// registers stays in the first cache.
  static constexpr int64_t kTile = 128;
  /// Queries behind the last that products may take; they are not stored.
  static constexpr int64_t kPadding = 16;

  struct Shape {
    int64_t queries; ///< At most.
    int64_t keyDim;  ///< 0 where somebody else has queries and keys.
    int64_t valueDim;
    float scale; ///< Of scores; positive.
  };
  /// Reserves scratch. Products are in bf16 where `narrow` allows it and the
  /// target multiplies pairs.
  FlashAttention(Phase &p, const Shape &shape, bool narrow);

  /// Positions that storeKeys() and storeValues() take at a time.
  int64_t getStep() const { return product.getStep(); }

  /// Starts with `count` queries that have seen nothing.
  void begin(mlir::Value count);
  /// Positions that a query sees. Every query sees the first.
  void setLimit(mlir::Value query, mlir::Value limit) const;
  /// Writes f32 features of a query from `feature` on.
  void storeQuery(mlir::Value query, mlir::Value feature,
                  mlir::Value values) const;

  /// Writes getStep() features from `feature` on of the keys of a tile's panel of
  /// 16 positions: a vector of 16 f32 for each feature.
  void storeKeys(mlir::Value panel, mlir::Value feature,
                 mlir::ValueRange features) const;
  /// Writes 16 features, number `panel` of such, of the values of getStep()
  /// positions of a tile from `position` on.
  void storeValues(mlir::Value panel, mlir::Value position,
                   mlir::ValueRange positions) const;

  /// Products with keys that lie elsewhere.
  struct Keys {
    /// Panels and queries that multiply() takes at a time, or one panel.
    Tile tile;
    /// [panel * tile.rows + query] of 16 lanes, of `count` panels of the tile
    /// from `panel` on with tile.rows queries from `query` on.
    llvm::function_ref<llvm::SmallVector<mlir::Value>(
        mlir::Value panel, int64_t count, mlir::Value query)>
        multiply;
    /// What the values of a panel's positions have to be multiplied by; may be
    /// null.
    llvm::function_ref<mlir::Value(mlir::Value panel)> valueScales;
  };
  /// Adds a tile's positions [first, first + count) to what queries have seen;
  /// `seen` is the least of their limits. Values, and keys that are stored, exist
  /// up to the next multiple of 16.
  void attend(const Keys &keys, mlir::Value first, mlir::Value count,
              mlir::Value seen) const;
  void attend(mlir::Value first, mlir::Value count, mlir::Value seen) const;

  /// Stores the features of a query's result in f32 or bf16.
  void storeResult(mlir::Value query, mlir::Type element,
                   mlir::Value to) const;

private:
  mlir::Value rowOf(mlir::Value base, mlir::Value query, int64_t bytes) const {
    return p.at(base, p.mul(query, bytes));
  }
  int64_t valueBytes() const { return valuePanels * kPanel * 4; }
  void emitScores(const Keys &keys, mlir::Value panels) const;
  void emitSoftmax(const Keys &keys, mlir::Value query, mlir::Value panels,
                   mlir::Value left) const;
  void emitValues(mlir::Value panels) const;

  Phase &p;
  const Shape shape;
  const FloatPanels product;
  const int64_t valuePanels;
  mlir::Value count;

  mlir::Value queries; ///< Rows of the product.
  mlir::Value keys;    ///< Panels of positions, columns of features.
  mlir::Value values;  ///< Panels of features, columns of positions.
  mlir::Value limits;  ///< [queries] i32.
  mlir::Value maxima;  ///< [queries] f32: the greatest score, times log2 e.
  mlir::Value fades;   ///< [queries] f32: what a tile multiplies sums by.
  mlir::Value totals;  ///< [queries][16] f32: sums of probabilities.
  mlir::Value sums;    ///< [queries][valuePanels * 16] f32.
  /// [queries][kTile] f32, whose rows become those of the second product.
  mlir::Value scores;
};

/// Calls `body` with the first row and the count of all rows of [first, last)
/// that follow one another in one slot.
void forSlots(Phase &p, mlir::Value slots, mlir::Value first, mlir::Value last,
              llvm::function_ref<void(mlir::Value first, mlir::Value count)>
                  body);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_FLASHATTENTION_H
