//===- DotPrimitive.h - The inner product of a target -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_DOTPRIMITIVE_H
#define SPUTNIK_CODEGEN_CPU_DOTPRIMITIVE_H

#include "codegen/cpu/ByteDot.h"
#include "codegen/cpu/Float8.h"
#include "codegen/cpu/Nibbles.h"

#include <optional>

namespace sputnik::cpu {

/// How a panel of 16 packed weight rows meets activation rows. Columns come in
/// chunks: up to 32 columns that share a weight's scale, or one step of the
/// encoding where there are no scales; and chunks in groups, of which some in a
/// row share a scale of the activations. A chunk is a few lines of 64 weight
/// bytes; each line is multiplied by the same columns of every activation row
/// and added to partial sums, which go into f32 sums when the chunk is done, and
/// those into the sums of the product when the columns of one scale of the
/// activations are.
class DotPrimitive {
public:
  /// Weight rows of a panel.
  static constexpr int64_t kPanel = 16;

  /// The instruction that multiplies.
  enum class Kind {
    FMA,     ///< f32 activations.
    BF16Dot, ///< bf16 pairs times bf16 pairs; fp8 becomes those.
    Int8Dot, ///< weight bytes times signed bytes, a ByteDot.
  };

  /// The primitive for a packed weight and activations of type `element`.
  /// Fails for a combination that no kernel understands.
  static mlir::FailureOr<DotPrimitive>
  get(r1::EncodingAttr encoding, mlir::Type element, r1::TargetAttr target);

  Kind getKind() const { return kind; }
  /// The same for panels that meet `rows` rows at a time: what may be done to
  /// weights or to the sums of each row is done where that is less.
  DotPrimitive forRows(int64_t rows) const;
  /// Whether tile registers of `target` can multiply all rows of such a phase
  /// with `columns` of the weights.
  bool canUseTiles(r1::TargetAttr target, r1::PhaseAttr phase,
                   int64_t columns) const;
  /// Panels are unpacked for tile registers, which multiply them (TileDot).
  void useTiles();
  bool usesTiles() const { return tiles; }
  /// Emits what loops need over and over; called once, before them.
  void prepare(Emit &e);
  /// Columns of a chunk.
  int64_t getChunk() const;
  /// Chunks of a group.
  int64_t getGroupChunks() const;
  /// Bytes of a group in a panel, with the scales that lie in it.
  int64_t getGroupBytes() const;
  /// Whether activations have scales, and how many groups share one.
  bool scalesActivations() const { return kind == Kind::Int8Dot; }
  int64_t getScaledGroups() const;
  /// Columns that are unpacked together, or multiplied with all rows together.
  int64_t getSlabColumns() const;
  /// Columns of one line of 64 weight bytes.
  int64_t getLine() const;

  /// One panel, and one activation row with `columns` columns.
  struct Panel {
    /// Where the panel begins, and where the rows' scales are, if there are.
    mlir::Value base, rowScales;
    /// Unpacked: where the scales of the blocks are.
    mlir::Value scales;
  };
  struct Row {
    mlir::Value values, scales, corrections;
  };
  /// A chunk, by its group and its index in that.
  struct Chunk {
    mlir::Value group;
    int64_t index;
  };
  Panel panelAt(Emit &e, mlir::Value address, int64_t columns) const;
  Row rowAt(Emit &e, mlir::Value address, int64_t columns) const;
  /// Activation rows that one instruction multiplies; below, `rows` are as many.
  int64_t getRows() const { return inPairs() ? 2 : 1; }

  /// Where the quants of a chunk are.
  mlir::Value quantsAt(Emit &e, const Panel &panel, Chunk chunk) const;

  using Operand = llvm::SmallVector<mlir::Value, 4>;
  /// One line of weights, ready for dot(): an operand for each getStep()
  /// columns.
  Operand loadWeights(Emit &e, const Panel &panel, Chunk chunk,
                      int64_t line) const;
  /// The same columns of activation rows. Of the line's columns only `columns`
  /// exist; the others count as zero.
  Operand loadActivations(Emit &e, llvm::ArrayRef<Row> rows, Chunk chunk,
                          int64_t line, int64_t columns) const;
  /// Partial sums at the start of a chunk, given the sums of each row before it.
  mlir::Value begin(Emit &e, const Panel &panel, llvm::ArrayRef<Row> rows,
                    Chunk chunk, mlir::ValueRange sums) const;
  mlir::Value dot(Emit &e, const Operand &weights, const Operand &activations,
                  mlir::Value partial) const;
  /// The scales of a chunk of 16 weight rows; null without.
  mlir::Value loadScales(Emit &e, const Panel &panel, Chunk chunk) const;
  /// Makes `sums`, of each row, those after a chunk.
  void finishChunk(Emit &e, mlir::Value partial, mlir::Value scales,
                   llvm::MutableArrayRef<mlir::Value> sums) const;
  /// The sums of the product, given what columns with scale number `index` of
  /// the activations add. Without such scales those are the sums already.
  mlir::Value finishGroup(Emit &e, mlir::Value added, const Row &row,
                          mlir::Value index, mlir::Value sum) const;
  /// The sums of the product, after all groups.
  mlir::Value scaleRows(Emit &e, const Panel &panel, mlir::Value sum) const;

  /// Whether it pays to unpack() panels that meet many rows.
  bool unpacks() const {
    return kind == Kind::Int8Dot || (kind == Kind::BF16Dot && isFloat8());
  }
  /// The primitive that reads unpacked panels.
  DotPrimitive getUnpacked() const;
  /// Bytes of the columns of an unpacked panel that are unpacked together.
  int64_t getUnpackedBytes() const;
  /// Such columns at `address`, from chunk `first` on: each chunk is a group of
  /// its own. The rows' scales stay with `packed`.
  Panel unpackedAt(Emit &e, mlir::Value address, mlir::Value first,
                   const Panel &packed) const;
  /// Writes the operands and scales of one chunk of `packed` to `unpacked`.
  void unpack(Emit &e, const Panel &packed, Chunk chunk,
              const Panel &unpacked) const;

  /// One instruction on operands in registers, for measuring its peak: the
  /// columns it covers in 16 rows, its operands from 128 bytes of `memory`,
  /// itself.
  int64_t getPeakColumns() const;
  std::pair<mlir::Value, mlir::Value> peakOperands(Emit &e,
                                                   mlir::Value memory) const;
  mlir::Value peakZero(Emit &e) const;
  /// Whether it is one instruction indeed. What it multiplies with others could be
  /// taken out of a loop.
  bool accumulates() const {
    return kind != Kind::Int8Dot || bytes->accumulates();
  }
  mlir::Value peak(Emit &e, mlir::Value w, mlir::Value x,
                   mlir::Value sum) const;

private:
  DotPrimitive(Kind kind, r1::EncodingAttr encoding, r1::TargetAttr target)
      : kind(kind), encoding(encoding), target(target),
        nibbles(encoding.getScheme()) {}
  /// Columns that one operand covers.
  int64_t getStep() const;
  /// Whether pairs of activation rows meet the weights.
  bool inPairs() const {
    return kind == Kind::Int8Dot && unpacked && bytes->hasPairs();
  }
  bool isNibbles() const { return Nibbles::encodes(encoding.getScheme()); }
  bool isFloat8() const { return encoding.getScheme() == r1::Scheme::FP8; }
  /// Whether nibbles stand for one of two tables, by the step of their block.
  bool hasTwoTables() const {
    return encoding.getScheme() == r1::Scheme::Q4 && !unpacked;
  }
  /// Bytes of a chunk's operands, unpacked.
  int64_t getUnpackedChunkBytes() const {
    return kPanel * getChunk() * (kind == Kind::BF16Dot ? 2 : 1);
  }
  Operand unpackBytes(Emit &e, mlir::Value bytes) const;
  /// Index of a chunk among all.
  mlir::Value indexOf(Emit &e, Chunk chunk) const;
  /// Where the scales or steps of a chunk are.
  mlir::Value scalesAt(Emit &e, const Panel &panel, Chunk chunk) const;
  /// The words that are odd.
  static mlir::Value isOdd(Emit &e, mlir::Value words);
  /// The steps of 16 weight rows as words.
  mlir::Value loadSteps(Emit &e, const Panel &panel, Chunk chunk) const;

  Kind kind;
  r1::EncodingAttr encoding;
  r1::TargetAttr target;
  /// What multiplies for Kind::Int8Dot; if the target has it, looks bytes up for
  /// others too.
  std::optional<ByteDot> bytes;
  bool unpacked = false, tiles = false;
  /// Whether weights are moved to the second table, rather than their sums.
  bool movesWeights = false;
  Nibbles nibbles;
  Float8Values float8;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_DOTPRIMITIVE_H
