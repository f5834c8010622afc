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
/// the device, abi::Sampling, then the layer. `rows`, `numOutputs` and `layer` are
/// i32.
enum Argument : unsigned {
  kTokens,
  kSlots,
  kPositions,
  kOutputs,
  kLogits,
  kWeights,
  kArena,
  kCaches,
  kSampling,
  kRows,
  kNumOutputs,
  kLayer,
  kNumArguments
};

/// Threads of a warp, and of the team that a block is. A kernel may have helpers
/// beside: threads from kThreads on, which only do what is emitted for them.
inline constexpr int64_t kWarp = 32;
inline constexpr int64_t kThreads = 256;
inline constexpr int64_t kWarps = kThreads / kWarp;
/// Threads of a warpgroup: four warps that multiply together (sm_90a).
inline constexpr int64_t kWarpgroup = 128;

/// The memory that all kernels call their block's shared memory: as long as the
/// launch says.
inline constexpr llvm::StringLiteral kSharedSymbol = "sputnik_shared";
/// Prefix of functions that wrap one PTX instruction each.
inline constexpr llvm::StringLiteral kPtxPrefix = "sputnik.ptx.";

/// The instruction at which a kernel waits for the one before, as a wrapper.
inline constexpr llvm::StringLiteral kAwaitPrevious = "griddepcontrol.wait";
/// Attribute of kernels that wait for the one before themselves.
inline constexpr llvm::StringLiteral kDependentLaunchAttr =
    "r1.dependent_launch";

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
  /// `activationBytes` of the arena. Kernels of no phase have no region.
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

  /// Adds helpers to the block; before anything is emitted.
  void addHelpers(int64_t threads);
  int64_t getThreads() const { return kThreads + helpers; }
  /// Waits, where the chip lets a kernel start early, until the kernels before
  /// have ended and what they wrote is seen; lets the next one start. Until here
  /// a kernel may touch weights alone, which a pass verifies.
  void awaitPrevious();
  /// Whether there is anything to gain from work before awaitPrevious.
  bool startsEarly() const;

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

  // sm_90a. Barriers in shared memory: a phase is over when the threads that are
  // expected and the bytes of copies have come. Phases have parities in turn, 0
  // first; before it, one of parity 1 counts as over.
  mlir::Value allocateBarriers(int64_t count);
  mlir::Value barrierAt(mlir::Value barriers, mlir::Value index) {
    return at(barriers, mul(index, 8));
  }
  /// By one thread; the others see them after fenceBarriers and a barrier.
  void initBarrier(mlir::Value barrier, int64_t arrivals);
  void fenceBarriers();
  void arrive(mlir::Value barrier);
  /// Arrives, and has the phase wait for `bytes` (i32) of copies.
  void arriveExpecting(mlir::Value barrier, mlir::Value bytes);
  void waitForPhase(mlir::Value barrier, mlir::Value parity);
  /// Copies `bytes` (i32, a multiple of 16) to shared memory, for `barrier` to
  /// count.
  void copyBulk(mlir::Value to, mlir::Value from, mlir::Value bytes,
                mlir::Value barrier);
  /// What this thread wrote to shared memory is there for products of
  /// warpgroups too.
  void fenceForProducts();
  /// How many registers each thread of this warpgroup has from here on.
  void setRegisters(int64_t count, bool more);
  /// Waits for all threads of the block, helpers too.
  void blockBarrier();

  // Products of warpgroups: D (64 x n, f32) += A (64 x 16) B (16 x n), bf16.
  // Warp w of the four has rows 16 w + lane / 4 and 8 more, of each 8 columns
  // 2 (lane % 4) and the next: four sums as those of mma.m16n8k16.
  /// How an operand lies in shared memory: the 16 columns of A's rows, and of
  /// those of B transposed, in pieces of 16 bytes. K-major, a piece is eight
  /// columns of a row; N-major, it is eight rows of a column.
  struct MatrixLayout {
    /// Bytes from each eight rows to the next (N-major with a swizzle: from the
    /// first eight columns to the others).
    int64_t stride;
    /// Bytes from the first eight columns to the others (N-major with a swizzle:
    /// from as many rows as it has bytes for to the next; K-major: ignored).
    int64_t leading;
    /// 0: pieces of eight rows (N-major: columns) are consecutive. 32, 64, 128:
    /// so are the eight rows (columns), with that many bytes of each, whose
    /// pieces are swapped: the bits of an address from 4 on that number them are
    /// those xor the bits from 7 on.
    int64_t swizzle = 0;
  };
  enum class Major { K, N };
  /// The descriptor of a matrix at `ptr`; moved() gives that of one `bytes`
  /// further.
  mlir::Value describeMatrix(mlir::Value ptr, const MatrixLayout &layout);
  mlir::Value moved(mlir::Value descriptor, int64_t bytes) {
    return add(descriptor, bytes / 16);
  }
  /// Registers that products use were written.
  void fenceProducts();
  /// Starts a product. A is a descriptor (K-major), or its fragments in four
  /// registers.
  llvm::SmallVector<mlir::Value> startProduct(mlir::ValueRange a,
                                              mlir::Value b,
                                              mlir::ValueRange sums,
                                              Major major = Major::K);
  /// The same for `count` sums that start at zero.
  llvm::SmallVector<mlir::Value> startFirstProduct(mlir::ValueRange a,
                                                   mlir::Value b,
                                                   int64_t count,
                                                   Major major = Major::K);
  /// What was started since the last time is a group.
  void commitProducts();
  /// Waits for all groups but the last `pending`: their operands are free.
  void waitForProducts(int64_t pending);
  /// Waits for all groups but the last `pending` and gives these sums of theirs;
  /// before, they are undefined.
  llvm::SmallVector<mlir::Value> finishProducts(mlir::ValueRange sums,
                                                int64_t pending = 0);

  // Instructions.
  /// 16 bytes that are read once and never written: not kept in L1.
  mlir::Value loadStreamed(mlir::Value ptr);
  /// Brings bytes of global memory, multiples of 16, into the second-level cache.
  void prefetch(mlir::Value ptr, mlir::Value bytes);
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
  /// What LLVM may believe of an instruction.
  enum class PtxEffect { LoadsOperand, Any };
  /// Calls the wrapper `name` of one instruction, made where it does not exist
  /// yet; null for no result.
  mlir::Value callPtx(llvm::StringRef name, mlir::Type result,
                      mlir::ValueRange operands, llvm::StringRef assembly,
                      llvm::StringRef constraints, PtxEffect effect);
  void callPtx(llvm::StringRef name, mlir::ValueRange operands,
               llvm::StringRef assembly, llvm::StringRef constraints = "");
  /// A wrapper that changes `sums`, its first operands: $0.. in `assembly`, in
  /// which the others follow.
  llvm::SmallVector<mlir::Value> callPtxOnSums(llvm::StringRef name,
                                               mlir::ValueRange sums,
                                               mlir::ValueRange others,
                                               llvm::StringRef assembly,
                                               llvm::StringRef constraints);

  llvm::SmallVector<mlir::Value> startProduct(mlir::ValueRange a,
                                              mlir::Value b,
                                              mlir::ValueRange sums,
                                              Major major, bool fromZero);

  mlir::Value inSpace(mlir::Value ptr, mlir::NVVM::NVVMMemorySpace space);
  mlir::Value inShared(mlir::Value ptr) {
    return inSpace(ptr, mlir::NVVM::NVVMMemorySpace::Shared);
  }
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
  int64_t helpers = 0;
  bool warpsAlone = false;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_KERNEL_H
