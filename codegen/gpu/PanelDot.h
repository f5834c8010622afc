//===- PanelDot.h - A warp's inner product with packed rows -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_PANELDOT_H
#define SPUTNIK_CODEGEN_GPU_PANELDOT_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// Rows of a panel.
inline constexpr int64_t kPanel = 16;

/// How a warp multiplies a panel of 16 packed weight rows with activation rows.
/// Columns come in chunks of 512 bytes of values, 16 for each lane: some
/// columns, which are the same for all lanes of a *part*, of `rowsPerLane` rows.
///
/// f32, bf16: 16 lanes make a part, each takes 4 (8) columns of one row.
/// fp8: as q8, each weight is made a float.
/// q8, q4: 4 lanes make a part, each takes 4 (8) columns of four rows, which
/// `dp4a` multiplies with i8 activations; with f32 activations each weight is
/// made a float.
class PanelDot {
public:
  /// Fails for an encoding and activations that do not go together.
  static mlir::FailureOr<PanelDot> get(r1::EncodingAttr encoding,
                                       mlir::Type element);

  /// Whether activations are bytes.
  bool isInteger() const { return integer; }
  int64_t rowsPerLane() const { return blocks() ? 4 : 1; }
  /// Sums that a lane keeps for one activation row.
  int64_t sumsPerRow() const { return blocks() ? 4 : 2; }
  /// Columns of one part.
  int64_t partColumns() const;
  /// Parts of a chunk, and of a whole row.
  int64_t parts() const { return blocks() ? 8 : 2; }
  int64_t rowParts(int64_t columns) const;
  /// Columns of an activation row that are read: those that fill up the last
  /// part must be numbers.
  int64_t paddedColumns(int64_t columns) const {
    return rowParts(columns) * partColumns();
  }

  /// Where this lane stands: its part of a chunk, its first row of the panel.
  mlir::Value lanePart(Kernel &k) const {
    return k.div(k.lane, kWarp / parts());
  }
  mlir::Value laneRow(Kernel &k) const {
    return k.mul(k.rem(k.lane, kWarp / parts()), rowsPerLane());
  }

  /// An activation row: its values, and the scales of bytes.
  struct Row {
    mlir::Value values, scales;
  };
  /// A whole row of `columns` features, as r1::getRowBytes has it.
  Row rowAt(Kernel &k, mlir::Value ptr, int64_t columns) const;

  /// The chunks that a warp takes: of whole chunks [begin, end) each
  /// `stride`-th from `begin + first` on. `takesRest`, an i1, says whether it
  /// takes those parts that make no whole chunk.
  struct Share {
    mlir::Value begin, end, first;
    int64_t stride;
    mlir::Value takesRest;
  };
  Share all(Kernel &k, int64_t columns) const;
  /// The sums of this warp's share of a panel: `rowsPerLane` for each row, in
  /// the lanes of part 0. `unroll` chunks are loaded before the first is
  /// multiplied.
  llvm::SmallVector<mlir::Value> sumPanel(Kernel &k, mlir::Value panel,
                                          int64_t columns,
                                          llvm::ArrayRef<Row> rows,
                                          const Share &share,
                                          int64_t unroll) const;

private:
  /// What a lane loads of one chunk: words, the rows' scales for its block (of q4
  /// but for those of whole rows), and in q4 their steps, a byte for each.
  struct Weights {
    mlir::Value words, scales, steps;
  };
  Weights load(Kernel &k, mlir::Value panel, int64_t columns,
               mlir::Value chunk) const;
  /// `sums` and the products of a chunk with an activation row.
  llvm::SmallVector<mlir::Value> multiply(Kernel &k, const Weights &weights,
                                          const Row &row, mlir::Value chunk,
                                          mlir::ValueRange sums) const;
  void multiplyFloats(Kernel &k, const Weights &weights, mlir::Value x,
                      llvm::MutableArrayRef<mlir::Value> sums) const;
  void multiplyBlocks(Kernel &k, const Weights &weights, mlir::Value x,
                      llvm::MutableArrayRef<mlir::Value> sums) const;
  void multiplyBytes(Kernel &k, const Weights &weights, mlir::Value x,
                     mlir::Value scale,
                     llvm::MutableArrayRef<mlir::Value> sums) const;
  /// The sums of `rowsPerLane` rows over all parts, in the lanes of part 0.
  llvm::SmallVector<mlir::Value> reduce(Kernel &k,
                                        mlir::ValueRange sums) const;

  PanelDot(r1::EncodingAttr encoding, bool integer)
      : encoding(encoding), integer(integer) {}
  bool blocks() const { return encoding.getBlock() != 0; }
  bool isFloat8() const { return encoding.getScheme() == r1::Scheme::FP8; }
  bool isNibbles() const {
    return encoding.getScheme() == r1::Scheme::Q4 ||
           encoding.getScheme() == r1::Scheme::Q4Plain;
  }

  r1::EncodingAttr encoding;
  bool integer;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_PANELDOT_H
