//===- Kernel.h - A GPU kernel while it is emitted --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What kernels are built from: threads, warps and blocks, shared memory,
// barriers, shuffles, streamed loads. Everything a kernel does that is more
// than arithmetic and memory goes through here, so that the emulator knows it.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_CODEGEN_GPU_KERNEL_H
#define SPUTNIK_CODEGEN_GPU_KERNEL_H

#include "codegen/cpu/Emit.h"
#include "dialect/R1.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/ADT/DenseMap.h"

namespace sputnik::gpu {

/// Arguments of every kernel, in order: those of abi::Step with addresses of
/// the device, then the layer. `rows`, `numOutputs` and `layer` are i32.
enum Argument : unsigned {
  kTokens,
  kSlots,
  kPositions,
  kOutputs,
  kLogits,
  kWeights,
  kArena,
  kCaches,
  kRows,
  kNumOutputs,
  kLayer,
  kNumArguments
};

/// Threads of a warp, and of a block of every kernel.
inline constexpr int64_t kWarp = 32;
inline constexpr int64_t kThreads = 256;
inline constexpr int64_t kWarps = kThreads / kWarp;

/// The memory that all kernels call their block's shared memory: as long as the
/// launch says.
inline constexpr llvm::StringLiteral kSharedSymbol = "sputnik_shared";
/// Prefix of functions that wrap one PTX instruction each.
inline constexpr llvm::StringLiteral kPtxPrefix = "sputnik.ptx.";

/// Counters with which blocks of one grid meet: words at the start of the
/// arena, in all phases. Activations follow, then workspace, which kernels use
/// one after the other.
inline constexpr int64_t kCounters = 4096;

/// Rows of activations in memory.
struct Rows {
  mlir::Value base;   ///< Address of row 0.
  int64_t stride;     ///< Bytes from row to row.
  mlir::Type element; ///< f32, bf16 or i8.
  mlir::Value count;  ///< Rows.
  int64_t features;
};

/// The kernel of one region, or of none.
class Kernel : public cpu::Emit {
public:
  /// Starts the kernel `symbol` of no region, which takes `arguments`, at the
  /// end of `code`.
  Kernel(mlir::OpBuilder &builder, mlir::ModuleOp code, llvm::StringRef symbol,
         mlir::TypeRange arguments, r1::TargetAttr target);

  /// Starts the kernel `symbol` at the end of `code`. Activations take
  /// `activationBytes` of the arena.
  Kernel(mlir::OpBuilder &builder, mlir::ModuleOp code, r1::RegionOp region,
         llvm::StringRef symbol, r1::PhaseAttr phase, r1::TargetAttr target,
         int64_t activationBytes);

  r1::RegionOp region;
  r1::PhaseAttr phase;
  r1::TargetAttr target;

  /// This thread in its block and warp, this warp, this block (x) and the tile
  /// of rows that it works on (y).
  mlir::Value thread, lane, warp, block, rowTile;
  mlir::Value rowCount, outputCount;
  mlir::Value argument(unsigned index);

  /// Rows of `value`: all of them, or those wanted as outputs.
  mlir::Value countOf(mlir::Value value);

  // Where values lie.
  Rows &rows(mlir::Value value);
  void setRows(mlir::Value value, Rows rows) { buffers[value] = rows; }
  bool hasRows(mlir::Value value) const { return buffers.count(value); }
  mlir::Value rowPtr(const Rows &rows, mlir::Value row) {
    return at(rows.base, mul(row, rows.stride));
  }
  /// Element `row` of an index tensor, widened to 64 bits.
  mlir::Value index(mlir::Value tensor, mlir::Value row);
  /// Whether weightPtr has given the address of this weight, and one of the two
  /// below one of a cache.
  bool reads(mlir::Operation *weight) const { return weights.count(weight); }
  bool readsCache() const { return hasCache; }
  /// Address of the weight `name` for the layer that `layer` (null: none)
  /// stands for.
  mlir::Value weightPtr(mlir::Operation *user, mlir::FlatSymbolRefAttr name,
                        mlir::Value layer);
  /// Address of one layer of a cache of latents, and of the keys of one KV head
  /// of another one.
  mlir::Value cacheLayerPtr(r1::KVCacheType cache, mlir::Value slot,
                            mlir::Value layer);
  mlir::Value cacheHeadPtr(r1::KVCacheType cache, mlir::Value slot,
                           mlir::Value layer, mlir::Value head);

  // Memory of a block and of the grid.
  /// Reserves bytes of shared memory, 16-byte aligned; for each warp its own
  /// inside asWarps.
  mlir::Value allocateShared(int64_t bytes);
  /// What was reserved since may be reserved again.
  int64_t sharedMark() const { return sharedEnd; }
  void restoreShared(int64_t mark) { sharedEnd = mark; }
  /// The most that was reserved at a time.
  int64_t getSharedBytes() const { return sharedBytes; }
  /// Address of activations at a byte offset of the memory plan.
  mlir::Value activations(int64_t offset) {
    return at(argument(kArena), kCounters * 4 + offset);
  }
  /// Reserves bytes of global memory that no other kernel uses meanwhile.
  mlir::Value allocateWorkspace(int64_t bytes);
  /// Bytes of the arena that the kernel needs.
  int64_t getArenaBytes() const { return arenaBytes; }
  /// Address of a word, for arriveLast, of which there are kCounters. It is
  /// zero when the kernel starts.
  mlir::Value counter(mlir::Value index);

  /// Address of constant numbers in global memory.
  mlir::Value constantTable(llvm::ArrayRef<double> values);

  // Threads together. All threads of the block (warp) must get to each of them.
  // A team is the block, or inside asWarps a warp.
  /// Emits `body` for warps that work by themselves.
  void asWarps(llvm::function_ref<void()> body);
  /// This thread's number in its team, and how many the team has.
  mlir::Value member() { return warpsAlone ? lane : thread; }
  int64_t members() const { return warpsAlone ? kWarp : kThreads; }
  /// Waits for the team.
  void barrier();
  void warpBarrier();
  /// The value of the lane whose number differs in the bits of `mask`.
  mlir::Value shuffleXor(mlir::Value value, int64_t mask);
  /// The sum over lanes that differ in the bits [from, kWarp) of their number.
  mlir::Value warpSum(mlir::Value value, int64_t from = 1);
  mlir::Value warpMax(mlir::Value value, int64_t from = 1);
  /// The sum over all threads of the team, the same in each.
  mlir::Value teamSum(mlir::Value value);
  /// The sum of an i32 over the threads before this one in the block, and over
  /// all.
  struct Scan {
    mlir::Value before, total;
  };
  Scan teamScan(mlir::Value value);
  /// Whether this block is the last of `count` to come here with this
  /// `counter`, which is zero again then. The last one sees what the others
  /// wrote to memory before.
  mlir::Value arriveLast(mlir::Value counter, int64_t count);
  /// Threads of the team share out [0, count).
  void forEach(int64_t count, Body body) { forEach(i64(count), body); }
  void forEach(mlir::Value count, Body body) {
    loop(member(), count, members(), body);
  }

  // Copies from global to shared memory that threads start and wait for later.
  /// Copies `bytes`, none where that is less than 0, and fills up to 16 with
  /// zeros. Both addresses are multiples of 16.
  void copyAsync(mlir::Value to, mlir::Value from, mlir::Value bytes);
  /// Copies 4 bytes.
  void copyWordAsync(mlir::Value to, mlir::Value from);
  /// What this thread started since the last time is a group.
  void commitCopies();
  /// Waits for this thread's groups, but the last `pending`.
  void waitForCopies(int64_t pending);

  // Tensor cores. Fragments are as the PTX ISA says for mma.m16n8k16 of bf16
  // and mma.m16n8k32 of signed bytes: A in four registers, B in two, sums in
  // four: rows lane / 4 (and 8 more), columns 2 (lane % 4) and the next.
  /// Four 8x8 matrices of 16-bit values in shared memory. Lane l gives the
  /// address of row l % 8 of matrix l / 8.
  llvm::SmallVector<mlir::Value> loadMatrices(mlir::Value row,
                                              bool transposed = false);
  /// Two floats as bf16 in one register, the first in the low half.
  mlir::Value packPair(mlir::Value low, mlir::Value high);
  /// a b + sums: f32 of bf16 pairs, or i32 of bytes, as the sums are.
  llvm::SmallVector<mlir::Value> multiplyMatrices(mlir::ValueRange a,
                                                  mlir::ValueRange b,
                                                  mlir::ValueRange sums);

  // Instructions.
  /// 16 bytes that are read once and never written: not kept in L1.
  mlir::Value loadStreamed(mlir::Value ptr);
  /// a . b + sum over four signed bytes in each word.
  mlir::Value dot4(mlir::Value a, mlir::Value b, mlir::Value sum);
  /// Byte n of the result is byte `selector` nibble n of the pair (low, high).
  mlir::Value permuteBytes(mlir::Value low, mlir::Value high,
                           mlir::Value selector);

  /// `body`'s values where the condition holds, else `otherwise`.
  llvm::SmallVector<mlir::Value>
  ifThenElse(mlir::Value condition, mlir::ValueRange otherwise,
             llvm::function_ref<llvm::SmallVector<mlir::Value>()> body);

  // 32-bit integers.
  mlir::Value and32(mlir::Value a, int32_t c);
  mlir::Value or32(mlir::Value a, int32_t c);
  mlir::Value shiftRight32(mlir::Value a, int32_t bits);
  mlir::Value select(mlir::Value condition, mlir::Value a, mlir::Value c);

  /// Ends the function.
  void finish();

private:
  /// The wrapper `name` of one instruction, made where it does not exist yet.
  mlir::Value callPtx(llvm::StringRef name, mlir::Type result,
                      mlir::ValueRange operands, llvm::StringRef assembly,
                      llvm::StringRef constraints);

  mlir::Value inSpace(mlir::Value ptr, mlir::NVVM::NVVMMemorySpace space);
  mlir::Value callIntrinsic(llvm::StringRef name, mlir::Type result,
                            mlir::ValueRange operands);

  mlir::ModuleOp code;
  mlir::LLVM::LLVMFuncOp function;
  llvm::DenseMap<mlir::Value, Rows> buffers;
  llvm::DenseSet<mlir::Operation *> weights; ///< That the kernel reads.
  bool hasCache = false;
  mlir::Value shared;
  std::optional<int64_t> reductionOffset; ///< Of teamSum's shared memory.
  int64_t arenaBytes = 0, sharedBytes = 0, sharedEnd = 0;
  bool warpsAlone = false;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_KERNEL_H
