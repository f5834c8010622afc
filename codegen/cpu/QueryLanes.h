//===- QueryLanes.h - Sixteen queries attend together -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_QUERYLANES_H
#define SPUTNIK_CODEGEN_CPU_QUERYLANES_H

#include "codegen/cpu/Phase.h"

namespace sputnik::cpu {

/// Online softmax attention of 16 queries, one in each lane, over f32 keys and
/// values that come in blocks of positions. Key and value rows are read in
/// whole vectors: 64 bytes behind them must be readable.
class QueryLanes {
public:
  static constexpr int64_t kLanes = 16;
  /// Positions of a block; the borders do not depend on the queries.
  static constexpr int64_t kBlock = 64;

  /// What is kept of 16 queries from block to block, in scratch.
  struct State {
    mlir::Value queries; ///< [keyDim][16] f32, with the scale.
    mlir::Value limits;  ///< [16] i32: positions that each query sees.
    mlir::Value maxima, totals; ///< [16] f32.
    mlir::Value sums;           ///< [16][getSumStride() bytes] f32.
  };

  /// Reserves scratch for what one block needs at a time.
  QueryLanes(Phase &p, int64_t keyDim, int64_t valueDim);

  int64_t getSumStride() const;
  /// Bytes of one state, and the state that lies at `ptr`.
  int64_t getStateBytes() const;
  State stateAt(mlir::Value ptr) const;
  /// Makes the state one of queries that are zero and see nothing yet.
  void clear(const State &state) const;
  void setQuery(const State &state, mlir::Value feature, mlir::Value lane,
                mlir::Value value) const;
  void setLimit(const State &state, mlir::Value lane, mlir::Value limit) const;

  /// Rows of f32, one for each position of a block.
  struct Block {
    mlir::Value ptr;
    int64_t stride; ///< Bytes.
  };
  /// Adds positions [first, first + count) to the state, count <= kBlock. Rows
  /// up to the next multiple of 16 exist.
  void attend(const State &state, Block keys, Block values, mlir::Value first,
              mlir::Value count) const;
  /// Divides the sums of one lane by its total.
  void normalize(const State &state, mlir::Value lane) const;
  mlir::Value sumOf(const State &state, mlir::Value lane) const {
    return p.at(state.sums, p.mul(lane, getSumStride()));
  }

private:
  int64_t registersPerVector() const;
  void emitScores(const State &state, Block keys, mlir::Value first,
                  mlir::Value count) const;
  void emitSoftmax(const State &state, mlir::Value count) const;
  void emitValues(const State &state, Block values, mlir::Value count) const;

  Phase &p;
  int64_t keyDim, valueDim;
  mlir::Value scores; ///< [kBlock][16] f32.
  mlir::Value fades;  ///< [16] f32.
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_QUERYLANES_H
