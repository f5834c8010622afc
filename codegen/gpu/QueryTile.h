//===- QueryTile.h - A block's queries of prefill's attention ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_QUERYTILE_H
#define SPUTNIK_CODEGEN_GPU_QUERYTILE_H

#include "codegen/gpu/Kernel.h"

#include <array>

namespace sputnik::gpu {

/// The queries that a block of prefill's attention has on the tensor cores: some
/// consecutive rows, each with all query heads of one KV head; 16 for each warp
/// of the team. Of those a lane has two, in fragments as the PTX ISA says, whose
/// softmax is online: maxima and totals are those of the positions so far.
///
/// Rows may belong to several conversations: consecutive rows of one slot are a
/// run, and the block goes through the cache once for each run.
class QueryTile {
public:
  static constexpr int64_t kQueries = 16 * kWarps;
  /// Coordinates of a left operand.
  static constexpr int64_t kColumns = 16;

  /// Emits what all threads of the block need.
  QueryTile(Kernel &k, r1::AttentionOp op);

  /// Query heads of a KV head, and rows of a tile.
  static int64_t countGroup(r1::AttentionOp op);
  int64_t getRows() const { return kQueries / group; }
  int64_t getDim() const { return cache.getDim(); }

  struct Run {
    mlir::Value begin, end, length; ///< Rows of the tile; positions.
    mlir::Value keys, values;       ///< Addresses in the cache.
  };
  using RunBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      const Run &, mlir::ValueRange)>;
  /// Calls `body` for each run, with what it carries.
  llvm::SmallVector<mlir::Value> forRuns(mlir::ValueRange carried,
                                         RunBody body);

  // By threads of the team.
  /// Loads the queries.
  void load();
  /// The left operand of coordinates from kColumns * i on.
  mlir::ValueRange operand(int64_t i) const {
    return llvm::ArrayRef(queries).slice(4 * i, 4);
  }
  /// Maxima, then totals, of this lane's two queries.
  static constexpr int64_t kState = 4;
  llvm::SmallVector<mlir::Value> begin();
  /// Makes weights of products with keys, [positions / 8][4] from `first` on.
  /// Gives what the sums so far of both queries are to be multiplied with.
  std::array<mlir::Value, 2> weigh(const Run &run, mlir::Value first,
                                   llvm::MutableArrayRef<mlir::Value> scores,
                                   llvm::MutableArrayRef<mlir::Value> state);
  /// Multiplies sums, [.. / 8][4].
  void fade(llvm::MutableArrayRef<mlir::Value> sums,
            const std::array<mlir::Value, 2> &factors);
  /// The left operand of 16 positions' weights, [2][4].
  llvm::SmallVector<mlir::Value> pack(llvm::ArrayRef<mlir::Value> weights);
  /// Divides sums [dim / 8][4] by the totals and stores them.
  void store(mlir::ValueRange state, mlir::ValueRange sums);

private:
  mlir::Value row(mlir::Value token) {
    return k.add(firstRow, k.min(token, k.sub(count, k.i64(1))));
  }
  llvm::SmallVector<mlir::Value> mask(const Run &run, mlir::Value first,
                                      mlir::ValueRange scores);

  Kernel &k;
  r1::AttentionOp op;
  r1::KVCacheType cache;
  int64_t group;
  mlir::Value head, firstRow, count; ///< Rows of this tile.

  /// Of this lane's two queries: row of the tile, query head of the group,
  /// position. Those that do not exist have the last row's.
  mlir::Value token[2], member[2], position[2];
  /// Of this warp's queries.
  mlir::Value firstToken, lastToken, leastPosition;
  llvm::SmallVector<mlir::Value> queries;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_QUERYTILE_H
