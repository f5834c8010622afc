//===- Grid.h - Blocks of threads on one thread of the host -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_EMULATOR_GRID_H
#define SPUTNIK_CODEGEN_GPU_EMULATOR_GRID_H

#include "codegen/gpu/emulator/Fiber.h"
#include "codegen/gpu/emulator/WarpgroupProducts.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace sputnik::gpu {

/// Memory that kernels may use.
struct EmulatedBuffer {
  std::string name;
  uint8_t *begin, *end;
  bool writable;
};

/// One launch while it runs: some blocks at a time, whose threads take turns
/// where they wait for each other, in an order that the seed gives.
class Grid {
public:
  using Entry = void (*)(void *const *arguments);
  struct Shape {
    uint32_t blocksX, blocksY, threads;
    uint64_t sharedBytes;
  };

  Grid(Shape shape, Entry entry, void *const *arguments,
       const std::vector<EmulatedBuffer> &buffers, uint64_t seed);

  /// Runs to the end. Errors: an access outside all buffers, threads that wait
  /// in different places for each other, a barrier that some never reach.
  llvm::Error run();

  // What the running thread asks for.
  static Grid &running() { return *active; }
  uint32_t threadIndex() const { return current->index; }
  uint32_t blockX() const { return current->block->x; }
  uint32_t blockY() const { return current->block->y; }
  /// The block's shared memory; its descriptors hold the low 18 bits of
  /// addresses, and the swizzles follow from these.
  static constexpr uint64_t kSharedAlignment = 1024;
  uint8_t *shared() const { return current->block->shared; }
  uint64_t sharedBytes() const { return shape.sharedBytes; }
  void check(const void *ptr, uint64_t bytes, uint64_t alignment, bool writes);
  /// Waits in barrier `id` for `count` threads of the block, 0 for all.
  void barrier(uint32_t id = 0, uint32_t count = 0);
  static constexpr uint32_t kLanes = 32;
  static constexpr uint32_t kWarpgroup = 4 * kLanes;
  /// What the lanes of a warp (of a warpgroup) brought to where they meet, by
  /// lane; null for lanes that take no part.
  using Brought = llvm::ArrayRef<void *>;
  /// Meets the lanes of `mask` in an operation that `name` and `operand` name.
  /// The last to come acts for all.
  void meet(uint32_t mask, llvm::StringRef name, uint32_t operand,
            void *brought, llvm::function_ref<void(const Brought &)> act);
  /// Meets all threads of the warpgroup in the same way.
  void meetWarpgroup(llvm::StringRef name, void *brought,
                     llvm::function_ref<void(const Brought &)> act);
  /// Meets the lanes of `mask`; gives what lane `source` brought.
  uint32_t exchange(uint32_t mask, llvm::StringRef name, uint32_t operand,
                    uint32_t value, uint32_t source);

  // Copies that a thread starts and waits for later. Until then the destination
  // is poisoned.
  /// Copies `bytes` and fills up to `size` with zeros.
  void copyAsync(void *to, const void *from, uint32_t bytes, uint32_t size);
  void commitCopies() { ++current->copyGroups; }
  /// Waits for all groups but the last `pending`.
  void waitForCopies(uint32_t pending);

  // Barriers that lie in shared memory (mbarrier): a phase is over when the
  // threads that are expected and the bytes of copies have come.
  void initBarrier(void *barrier, uint32_t arrivals);
  /// One thread arrives; that many bytes more are expected.
  void arrive(void *barrier, uint32_t bytes);
  /// Waits until the phase of this parity is over.
  void waitForPhase(void *barrier, uint32_t parity);
  /// Copies to shared memory at some time until `barrier` counts the bytes; the
  /// destination is poisoned until then.
  void copyBulk(void *to, const void *from, uint32_t bytes, void *barrier);

  /// Of the running thread's warpgroup, in which it is thread
  /// `inWarpgroup()`.
  WarpgroupProducts &products() {
    return current->block->products[current->index / kWarpgroup];
  }
  uint32_t inWarpgroup() const { return current->index % kWarpgroup; }
  /// Follows from the seed.
  uint64_t draw() { return random(); }
  /// Ends the launch with an error at the running thread.
  [[noreturn]] void fail(const std::string &what);

private:
  /// Blocks that are alive at the same time.
  static constexpr uint32_t kLiveBlocks = 4;

  struct Block;
  struct Thread {
    Block *block;
    uint32_t index;
    enum { Ready, InBarrier, InGroup, InPhase, Done } state;
    llvm::StringRef operation; ///< That it waits in.
    uint32_t lanes; ///< Of the group that it meets.
    uint32_t mask, operand;
    const void *phase; ///< The barrier in shared memory that it waits for.
    void *brought;
    struct Copy {
      uint8_t *to;
      const uint8_t *from;
      uint32_t bytes, size, group;
    };
    std::vector<Copy> copies; ///< That nobody waited for yet.
    uint32_t copyGroups;      ///< Committed.
    Fiber fiber;
  };
  struct SharedBarrier {
    uint32_t arrivals;          ///< Expected in each phase.
    uint32_t missing;           ///< In this phase.
    int64_t bytes;              ///< Of copies, in this phase.
    uint32_t parity;            ///< Of this phase.
  };
  struct Block {
    uint32_t x, y, done;
    /// Threads in each barrier.
    std::array<uint32_t, 16> waiting;
    /// At a multiple of kSharedAlignment.
    uint8_t *shared;
    std::unique_ptr<uint8_t[]> memory;
    std::vector<Thread> threads;
    std::map<const void *, SharedBarrier> barriers;
    std::vector<WarpgroupProducts> products;
  };
  struct BulkCopy {
    Block *block;
    uint8_t *to;
    const uint8_t *from;
    uint32_t bytes;
    const void *barrier;
  };

  static void enter(void *thread);
  void startBlock(Block &block);
  void finishBlock(Block &block);
  void releaseGroup(Thread &last,
                    llvm::function_ref<void(const Brought &)> act);
  void releaseBarrier(Block &block, uint32_t id);
  SharedBarrier &barrierAt(const void *barrier);
  /// Ends a phase that nothing is missing in.
  void advance(Block &block, const void *at, SharedBarrier &barrier);
  void completeCopy();
  /// Gives the turn away until somebody makes the thread ready.
  void wait();
  std::string place(const Thread &thread) const;
  llvm::Error describeDeadlock();

  static thread_local Grid *active;

  const Shape shape;
  const Entry entry;
  void *const *const arguments;
  const std::vector<EmulatedBuffer> &buffers;
  size_t lastBuffer = 0;
  std::mt19937_64 random;
  std::deque<Block> blocks;
  std::vector<Thread *> ready;
  std::vector<BulkCopy> bulkCopies; ///< Under way.
  uint64_t started = 0, liveThreads = 0;
  Thread *current = nullptr;
  Fiber scheduler;
  std::string error;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_EMULATOR_GRID_H
