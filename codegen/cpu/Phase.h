//===- Phase.h - What kernels share while a phase is emitted ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_PHASE_H
#define SPUTNIK_CODEGEN_CPU_PHASE_H

#include "codegen/cpu/Emit.h"
#include "dialect/R1.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

#include <optional>

namespace sputnik::cpu {

/// Rows of activations in memory.
struct Rows {
  mlir::Value base;   ///< Address of row 0.
  mlir::Value stride; ///< Bytes from row to row.
  mlir::Type element; ///< f32 or bf16.
  mlir::Value count;  ///< Rows.
  int64_t features;
  /// The last row ends right behind its last feature; elsewhere rows are padded
  /// to 64 bytes, so that whole vectors may be read and written.
  bool exact = false;
};

/// The phase being emitted: its arguments, and where its values lie.
class Phase : public Emit {
public:
  Phase(mlir::OpBuilder &builder, mlir::Location loc, r1::PhaseAttr attr,
        r1::TargetAttr target, int64_t arenaBytes, int64_t optLevel);

  r1::PhaseAttr attr;
  r1::TargetAttr target;
  int64_t optLevel;
  /// Lanes of ordinary vector code: 16 for optimised code, 1 for the oracle.
  int64_t lanes() const { return optLevel == 0 ? 1 : 16; }

  /// Reads the fields of abi::Step; called once, at the start of the function.
  void begin(mlir::Value step, mlir::Value thread, mlir::Value threads);

  mlir::Value thread, threads;
  mlir::Value rowCount, outputCount;
  mlir::Value weights, caches, scratch, shared, logits, arena, barrier;
  /// abi::Step::observed.
  mlir::Value observed;
  /// This thread's abi::ThreadProfile; null in code that notes no times.
  mlir::Value profile;
  /// The index of the layer loop that is being emitted, by its r1 value.
  llvm::DenseMap<mlir::Value, mlir::Value> scalars;

  /// Where an activation lies. Index tensors (tokens, slots, ...) are rows of
  /// one i32 each.
  Rows &rows(mlir::Value value);
  void setRows(mlir::Value value, Rows rows) { buffers[value] = rows; }
  bool hasRows(mlir::Value value) const { return buffers.count(value); }
  /// Leaves the first `skipped` of a step's rows out: what has one row for each
  /// begins behind them, until restoreRows().
  struct RowState {
    mlir::Value rowCount;
    llvm::MapVector<mlir::Value, Rows> buffers;
  };
  RowState skipRows(mlir::Value skipped);
  void restoreRows(RowState state);
  /// How many rows are left out; null: none.
  mlir::Value skippedRows;
  mlir::Value rowPtr(const Rows &rows, mlir::Value row) {
    return at(rows.base, mul(row, rows.stride));
  }
  /// Element `row` of an index tensor, widened to 64 bits.
  mlir::Value index(mlir::Value tensor, mlir::Value row);

  /// Address of the weight for the layer that `layer` (null: none) stands for.
  mlir::Value weightPtr(mlir::Operation *user, mlir::FlatSymbolRefAttr name,
                        mlir::Value layer);

  /// Reserves bytes of this thread's scratch until the mark is restored.
  mlir::Value allocateScratch(int64_t bytes);
  int64_t scratchMark() const { return scratchUsed; }
  void restoreScratch(int64_t mark) { scratchUsed = mark; }
  int64_t getScratchBytes() const { return scratchPeak; }

  /// Reserves bytes that all threads share, for use inside one region.
  mlir::Value allocateShared(int64_t bytes);
  int64_t getSharedBytes() const { return sharedBytes; }

  /// This thread's part [first, last) of `count` things.
  std::pair<mlir::Value, mlir::Value> share(mlir::Value count);

  /// Bytes in memory.
  struct Bytes {
    mlir::Value address, count;
  };
  /// Waits until all threads are here, and asks for `ahead` meanwhile.
  void wait(std::optional<Bytes> ahead = std::nullopt);

private:
  llvm::MapVector<mlir::Value, Rows> buffers;
  int64_t arenaBytes;
  int64_t scratchUsed = 0, scratchPeak = 0, sharedBytes = 0;
};

/// Emits `op` for one row. Operand and result rows are taken from `phase`
/// unless `source`/`target` say where the slice of features lies.
struct RowSlice {
  mlir::Value source;     ///< Input features; null: the operand's row.
  mlir::Value result;     ///< Output features; null: the result's row.
  int64_t features;       ///< In the slice: whole heads.
  mlir::Value firstHead;  ///< Head that the slice starts with; null: 0.
  mlir::Value operand;    ///< The operand that `source` stands for.
};
void emitRowOp(Phase &phase, mlir::Operation *op, mlir::Value row,
               const RowSlice &slice);

/// silu(gate) * up on scalars or vectors.
mlir::Value emitSwiGLU(Emit &emit, mlir::Value gate, mlir::Value up);

/// Whether `op` works on each row by itself, so that emitRowOp takes it.
bool isRowOp(mlir::Operation *op);

/// Regions, by the op that they are built around.
void emitTokenRegion(Phase &phase, r1::RegionOp region);
void emitPlainLinear(Phase &phase, r1::RegionOp region, r1::LinearOp linear);
void emitPackedLinear(Phase &phase, r1::RegionOp region, r1::LinearOp linear);
void emitPlainAttention(Phase &phase, r1::RegionOp region,
                        r1::AttentionOp attention);
void emitDecodeAttention(Phase &phase, r1::RegionOp region,
                         r1::AttentionOp attention);
void emitPrefillAttention(Phase &phase, r1::RegionOp region,
                          r1::AttentionOp attention);

/// The same for ops that are alone in their region.
void emitPlainExpertsUp(Phase &phase, r1::ExpertsUpOp op);
void emitPlainExpertsDown(Phase &phase, r1::ExpertsDownOp op);
void emitPackedExpertsUp(Phase &phase, r1::ExpertsUpOp op);
void emitPackedExpertsDown(Phase &phase, r1::ExpertsDownOp op);
void emitPlainLatentAttention(Phase &phase, r1::LatentAttentionOp op);
void emitAbsorbedAttention(Phase &phase, r1::LatentAttentionOp op);
void emitExpandedAttention(Phase &phase, r1::LatentAttentionOp op);

/// Chooses the experts of one row, whose scores, chosen and factors are given.
void emitRoute(Phase &phase, r1::RouteOp op, mlir::Value scores,
               mlir::Value chosen, mlir::Value factors);

/// Address of what one layer of a slot's cache holds.
mlir::Value cacheLayerPtr(Phase &phase, r1::KVCacheType cache, mlir::Value slot,
                          mlir::Value layer);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_PHASE_H
