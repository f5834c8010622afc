//===- Grid.h - Blocks of threads on one thread of the host -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_EMULATOR_GRID_H
#define SPUTNIK_CODEGEN_GPU_EMULATOR_GRID_H

#include "codegen/gpu/emulator/Fiber.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <array>
#include <cstdint>
#include <deque>
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
    /// Started while what is launched before still runs: until a thread waits
    /// for that, it may use constant buffers alone.
    bool early = false;
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
  void *shared() const { return current->block->shared.get(); }
  void check(const void *ptr, uint64_t bytes, uint64_t alignment, bool writes);
  /// Like check, of bytes that are only brought nearer.
  void prefetch(const void *ptr, uint64_t bytes);
  void awaitPrevious() { current->waited = true; }
  void barrier();
  static constexpr uint32_t kLanes = 32;
  /// What the lanes of a warp brought to where they meet, by lane; null for
  /// lanes that take no part.
  using Brought = std::array<void *, kLanes>;
  /// Meets the lanes of `mask` in an operation that `name` and `operand` name.
  /// The last to come acts for all.
  void meet(uint32_t mask, llvm::StringRef name, uint32_t operand,
            void *brought, llvm::function_ref<void(const Brought &)> act);
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

private:
  /// Blocks that are alive at the same time.
  static constexpr uint32_t kLiveBlocks = 4;

  struct Block;
  struct Thread {
    Block *block;
    uint32_t index;
    bool waited; ///< For the launch before.
    enum { Ready, InBarrier, InWarp, Done } state;
    llvm::StringRef operation; ///< That it waits in.
    uint32_t mask, operand;
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
  struct Block {
    uint32_t x, y, waiting, done;
    std::unique_ptr<uint8_t[]> shared;
    std::vector<Thread> threads;
  };

  /// Looks for [ptr, ptr + bytes) in the buffers; fails where it is in none that
  /// `may` accepts.
  void find(const void *ptr, uint64_t bytes, const char *verb,
            llvm::function_ref<bool(const EmulatedBuffer &)> may);
  static void enter(void *thread);
  void startBlock(Block &block);
  void releaseWarp(Thread &last,
                   llvm::function_ref<void(const Brought &)> act);
  void releaseBarrier(Block &block);
  /// Gives the turn away until somebody makes the thread ready.
  void wait();
  [[noreturn]] void fail(const std::string &what);
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
  uint64_t started = 0, liveThreads = 0;
  Thread *current = nullptr;
  Fiber scheduler;
  std::string error;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_EMULATOR_GRID_H
