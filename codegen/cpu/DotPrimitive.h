//===- DotPrimitive.h - The inner product of a target -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_DOTPRIMITIVE_H
#define SPUTNIK_CODEGEN_CPU_DOTPRIMITIVE_H

#include "codegen/cpu/Emit.h"
#include "dialect/R1.h"

namespace sputnik::cpu {

/// How a panel of 16 packed weight rows meets activation rows. Columns come in
/// chunks: all columns that share a scale, or one step of the encoding where
/// there are no scales. A chunk is a few lines of 64 weight bytes; each line is
/// multiplied by the same columns of every activation row and added to partial
/// sums, which go into the f32 sums of the product when the chunk is done.
class DotPrimitive {
public:
  /// Weight rows of a panel.
  static constexpr int64_t kPanel = 16;

  /// The instruction that multiplies.
  enum class Kind {
    FMA,      ///< f32 activations.
    BF16Dot,  ///< bf16 pairs times bf16 pairs, vdpbf16ps.
    Int8Dot,  ///< unsigned weight bytes times signed ones, vpdpbusd.
  };

  /// The primitive for a packed weight and activations of type `element`.
  /// Fails for a combination that no kernel understands.
  static mlir::FailureOr<DotPrimitive>
  get(r1::EncodingAttr encoding, mlir::Type element, r1::TargetAttr target);

  Kind getKind() const { return kind; }
  /// Columns of a chunk.
  int64_t getChunk() const;
  /// Columns of one line of 64 weight bytes.
  int64_t getLine() const;

  /// One panel, and one activation row with `columns` columns.
  struct Panel {
    /// Where the quants, the blocks' scales or steps, and the rows' scales
    /// are; the latter two are null where the encoding has none.
    mlir::Value quants, scales, rowScales;
  };
  struct Row {
    mlir::Value values, scales, corrections;
  };
  Panel panelAt(Emit &e, mlir::Value address, int64_t columns) const;
  Row rowAt(Emit &e, mlir::Value address, int64_t columns) const;

  using Operand = llvm::SmallVector<mlir::Value, 4>;
  /// One line of weights, ready for dot(): an operand for each getStep()
  /// columns.
  Operand loadWeights(Emit &e, const Panel &panel, mlir::Value chunk,
                      int64_t line) const;
  /// The same columns of an activation row. Of the line's columns only
  /// `columns` exist; the others count as zero.
  Operand loadActivations(Emit &e, const Row &row, mlir::Value chunk,
                          int64_t line, int64_t columns) const;
  /// Partial sums at the start of a chunk, given the sums before it.
  mlir::Value begin(Emit &e, const Panel &panel, const Row &row,
                    mlir::Value chunk, mlir::Value sum) const;
  mlir::Value dot(Emit &e, const Operand &weights, const Operand &activations,
                  mlir::Value partial) const;
  /// The scales of 16 weight rows, and of an activation row; null without.
  mlir::Value loadScales(Emit &e, const Panel &panel, mlir::Value chunk) const;
  mlir::Value loadScale(Emit &e, const Row &row, mlir::Value chunk) const;
  /// The sums after a chunk.
  mlir::Value finish(Emit &e, mlir::Value partial, mlir::Value scales,
                     mlir::Value scale, mlir::Value sum) const;
  /// The sums of the product, after all chunks.
  mlir::Value scaleRows(Emit &e, const Panel &panel, mlir::Value sum) const;

  /// One instruction on operands in registers, for measuring its peak: the
  /// columns it covers in 16 rows, its operands from `memory`, itself.
  int64_t getPeakColumns() const;
  std::pair<mlir::Value, mlir::Value> peakOperands(Emit &e,
                                                   mlir::Value memory) const;
  mlir::Value peakZero(Emit &e) const;
  mlir::Value peak(Emit &e, mlir::Value w, mlir::Value x,
                   mlir::Value sum) const;

private:
  DotPrimitive(Kind kind, r1::EncodingAttr encoding)
      : kind(kind), encoding(encoding) {}
  /// Columns that one operand covers.
  int64_t getStep() const;
  Operand unpackBytes(Emit &e, mlir::Value bytes) const;
  /// The steps of 16 weight rows as words.
  mlir::Value loadSteps(Emit &e, const Panel &panel, mlir::Value chunk) const;

  Kind kind;
  r1::EncodingAttr encoding;
};

/// Weight [row, column] as f32, in any encoding: slow, for oracles and lookups.
mlir::Value loadWeight(Emit &e, r1::EncodingAttr encoding, int64_t columns,
                       mlir::Value base, mlir::Value row, mlir::Value column);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_DOTPRIMITIVE_H
