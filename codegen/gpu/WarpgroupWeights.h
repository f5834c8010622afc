//===- WarpgroupWeights.h - Packed rows for warpgroups ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_WARPGROUPWEIGHTS_H
#define SPUTNIK_CODEGEN_GPU_WARPGROUPWEIGHTS_H

#include "codegen/gpu/Kernel.h"

namespace sputnik::gpu {

/// How panels of packed weight rows become left operands of the products of two
/// warpgroups (wgmma), a step of 64 columns at a time: groups of 8 panels, of
/// which each warpgroup has 64 rows.
///
/// bf16 weights are taken from shared memory as they are: 8 rows of 8 columns
/// of a panel are 128 consecutive bytes, the core matrix that products take
/// without a swizzle, and the upper, or the lower, halves of the 8 panels lie
/// at equal distances. Of the other encodings each warp has a panel, and makes the
/// bf16 value that is nearest to each weight in its registers. Its lanes have
/// two consecutive rows, so that they load both at once.
class WarpgroupWeights {
public:
  static constexpr int64_t kStepColumns = 64;
  /// Columns of one product.
  static constexpr int64_t kProductColumns = 16;
  static constexpr int64_t kGroupPanels = 8;

  /// Whether weights of `encoding` are multiplied so with rows of `element`.
  static bool supports(r1::EncodingAttr encoding, mlir::Type element);
  /// Of matrices with `columns` columns.
  WarpgroupWeights(r1::EncodingAttr encoding, int64_t columns);

  /// Whether weights change their form in registers.
  bool converts() const { return encoding.getBlock() != 0; }
  /// Bytes of a step of a panel in shared memory.
  int64_t stepBytes() const { return bytesOfStep; }

  /// Bytes of a step that are consecutive in the image: where they lie in a
  /// step and in a panel, and how many (i64) there are.
  struct Piece {
    int64_t place;
    mlir::Value offset, bytes;
  };
  llvm::SmallVector<Piece, 2> pieces(Kernel &k, mlir::Value step) const;
  /// Bytes of the last step, its last ones, that are not in the image and must
  /// be finite numbers.
  int64_t missingBytes() const;

  /// A step is multiplied in parts, each of some products. While one is
  /// multiplied the next is made.
  int64_t parts() const { return converts() ? 2 : 1; }
  int64_t products() const {
    return kStepColumns / kProductColumns / parts();
  }

  /// What the scales of this lane's two rows of its panel in the image are to
  /// be multiplied with; empty: nothing.
  llvm::SmallVector<mlir::Value, 2> rowScales(Kernel &k,
                                              mlir::Value panel) const;
  /// Left operands of the products of a part, for Kernel::startProduct: of a
  /// group of panels whose step lies at `panels`.
  using Operand = llvm::SmallVector<mlir::Value, 4>;
  llvm::SmallVector<Operand, 4> load(Kernel &k, mlir::Value panels,
                                     mlir::Value step, int64_t part,
                                     mlir::ValueRange rowScales) const;

  /// The panel in its group, and the row in that, that this lane's sum i
  /// belongs to.
  mlir::Value panel(Kernel &k, int64_t i) const;
  mlir::Value row(Kernel &k, int64_t i) const;

private:
  bool isNibbles() const {
    return encoding.getScheme() == r1::Scheme::Q4 ||
           encoding.getScheme() == r1::Scheme::Q4Plain;
  }
  /// Whether several steps share a group of scales.
  bool sharesScales() const {
    return encoding.getGroupBlocks() * encoding.getBlock() > kStepColumns;
  }
  /// Bytes of the quants of a part.
  int64_t partBytes() const;
  /// Where the scales of a part begin in a step, and its quants.
  mlir::Value scalesAt(Kernel &k, mlir::Value step, int64_t part) const;
  int64_t quantsAt(int64_t part) const;
  /// A lane's columns of the products of a part of one of its rows, four of
  /// each, as f32 without their scale. `words` are what it loaded of the row.
  llvm::SmallVector<mlir::Value> values(Kernel &k,
                                        llvm::ArrayRef<mlir::Value> words,
                                        mlir::Value step) const;

  r1::EncodingAttr encoding;
  int64_t valueBytes;  ///< Of a panel in the image, with scales of blocks.
  int64_t bytesOfStep;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_WARPGROUPWEIGHTS_H
