//===- Grid.cpp - Blocks of threads on one thread of the host -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/emulator/Grid.h"

#include "llvm/Support/FormatVariadic.h"

#include <cstring>

using namespace sputnik::gpu;

thread_local Grid *Grid::active = nullptr;

/// What shared memory holds when a block starts: NaN as a float of any size.
static constexpr int kPoison = 0xff;

Grid::Grid(Shape shape, Entry entry, void *const *arguments,
           const std::vector<EmulatedBuffer> &buffers, uint64_t seed)
    : shape(shape), entry(entry), arguments(arguments), buffers(buffers),
      random(seed) {}

void Grid::enter(void *argument) {
  auto *thread = static_cast<Thread *>(argument);
  Grid &grid = running();
  grid.entry(grid.arguments);
  if (!thread->waited)
    grid.fail("ends without having waited for the launch before");
  thread->state = Thread::Done;
  ++thread->block->done;
  --grid.liveThreads;
  Fiber::swap(thread->fiber, grid.scheduler);
}

void Grid::startBlock(Block &block) {
  block.x = static_cast<uint32_t>(started % shape.blocksX);
  block.y = static_cast<uint32_t>(started / shape.blocksX);
  block.waiting = block.done = 0;
  ++started;
  // Zero bytes have an address too.
  std::memset(block.shared.get(), kPoison, shape.sharedBytes + 16);
  for (Thread &thread : block.threads) {
    thread.state = Thread::Ready;
    thread.waited = !shape.early;
    thread.copies.clear();
    thread.copyGroups = 0;
    thread.fiber.restart(&Grid::enter, &thread);
    ready.push_back(&thread);
  }
  liveThreads += shape.threads;
}

llvm::Error Grid::run() {
  active = this;
  const uint64_t count = uint64_t(shape.blocksX) * shape.blocksY;
  for (uint64_t i = 0; i < std::min<uint64_t>(count, kLiveBlocks); ++i) {
    Block &block = blocks.emplace_back();
    block.shared = std::make_unique<uint8_t[]>(shape.sharedBytes + 16);
    block.threads.resize(shape.threads);
    for (auto [index, thread] : llvm::enumerate(block.threads)) {
      thread.block = &block;
      thread.index = static_cast<uint32_t>(index);
      thread.fiber = Fiber(&Grid::enter, &thread);
    }
    startBlock(block);
  }
  while (!ready.empty()) {
    // Mostly who became ready last, which is a warp together: their stacks are
    // near. Sometimes anybody.
    if (random() % 8 == 0)
      std::swap(ready[random() % ready.size()], ready.back());
    current = ready.back();
    ready.pop_back();
    Fiber::swap(scheduler, current->fiber);
    if (!error.empty())
      break;
    Block &block = *current->block;
    if (current->state != Thread::Done)
      continue;
    if (block.waiting && block.waiting + block.done == shape.threads) {
      error = llvm::formatv("{0}: ended while {1} threads of its block wait in "
                            "a barrier",
                            place(*current), block.waiting);
      break;
    }
    if (block.done == shape.threads && started < count)
      startBlock(block);
  }
  active = nullptr;
  if (!error.empty())
    return llvm::createStringError(error);
  return liveThreads ? describeDeadlock() : llvm::Error::success();
}

std::string Grid::place(const Thread &thread) const {
  return llvm::formatv("block ({0}, {1}) thread {2}", thread.block->x,
                       thread.block->y, thread.index);
}

llvm::Error Grid::describeDeadlock() {
  std::string text = "deadlock: no thread can go on";
  int shown = 0;
  for (const Block &block : blocks)
    for (const Thread &thread : block.threads)
      if (thread.state != Thread::Done && ++shown <= 3)
        text += llvm::formatv("; {0} waits in {1}", place(thread),
                              thread.operation);
  return llvm::createStringError(text);
}

void Grid::wait() { Fiber::swap(current->fiber, scheduler); }

void Grid::fail(const std::string &what) {
  error = place(*current) + ": " + what;
  wait();
  llvm_unreachable("a thread that failed is never continued");
}

//===----------------------------------------------------------------------===//
// What threads ask for
//===----------------------------------------------------------------------===//

void Grid::check(const void *ptr, uint64_t bytes, uint64_t alignment,
                 bool writes) {
  const auto *begin = static_cast<const uint8_t *>(ptr);
  const char *verb = writes ? "writes" : "reads";
  if (reinterpret_cast<uintptr_t>(ptr) % alignment)
    fail(llvm::formatv("{0} {1} bytes at {2}, which is not aligned to {3}",
                       verb, bytes, ptr, alignment));
  const uint8_t *shared = current->block->shared.get();
  if (begin >= shared && begin + bytes <= shared + shape.sharedBytes)
    return;
  find(ptr, bytes, verb, [&](const EmulatedBuffer &buffer) {
    return buffer.writable ? current->waited : !writes;
  });
}

void Grid::prefetch(const void *ptr, uint64_t bytes) {
  find(ptr, bytes, "prefetches", [](const EmulatedBuffer &) { return true; });
}

void Grid::find(const void *ptr, uint64_t bytes, const char *verb,
                llvm::function_ref<bool(const EmulatedBuffer &)> may) {
  const auto *begin = static_cast<const uint8_t *>(ptr);
  auto accepts = [&](const EmulatedBuffer &buffer) {
    return begin >= buffer.begin && begin + bytes <= buffer.end && may(buffer);
  };
  if (lastBuffer < buffers.size() && accepts(buffers[lastBuffer]))
    return;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (accepts(buffers[i])) {
      lastBuffer = i;
      return;
    }
  const uint8_t *shared = current->block->shared.get();
  std::string near;
  int64_t distance = INT64_MAX;
  for (const EmulatedBuffer &buffer : buffers)
    if (int64_t offset = begin - buffer.begin; std::abs(offset) < distance) {
      distance = std::abs(offset);
      near = llvm::formatv("at byte {0} of {1}, {2} with {3} bytes", offset,
                           buffer.name,
                           buffer.writable ? "a buffer" : "a constant buffer",
                           buffer.end - buffer.begin);
    }
  if (begin >= shared && begin - shared < distance)
    near = llvm::formatv("at byte {0} of the {1} bytes of shared memory",
                         begin - shared, shape.sharedBytes);
  fail(llvm::formatv("{0} {1} bytes {2}{3}", verb, bytes, near,
                     current->waited
                         ? ""
                         : ", not having waited for the launch before"));
}

void Grid::releaseBarrier(Block &block) {
  block.waiting = 0;
  for (Thread &thread : block.threads)
    if (thread.state == Thread::InBarrier) {
      thread.state = Thread::Ready;
      ready.push_back(&thread);
    }
}

void Grid::barrier() {
  Block &block = *current->block;
  if (block.done)
    fail("waits in a barrier that threads of its block have left for good");
  current->state = Thread::InBarrier;
  current->operation = "barrier";
  if (++block.waiting == shape.threads)
    releaseBarrier(block);
  wait();
}

void Grid::releaseWarp(Thread &last,
                       llvm::function_ref<void(const Brought &)> act) {
  Block &block = *last.block;
  Thread *warp = &block.threads[last.index / kLanes * kLanes];
  Brought brought = {};
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    Thread &thread = warp[lane];
    if (!(last.mask >> lane & 1))
      continue;
    if (thread.state != Thread::InWarp)
      return;
    if (thread.operation != last.operation || thread.mask != last.mask ||
        thread.operand != last.operand)
      fail(llvm::formatv("is in {0} of {1} with lanes {2:x}, lane {3} is in "
                         "{4} of {5} with lanes {6:x}",
                         last.operation, last.operand, last.mask, lane,
                         thread.operation, thread.operand, thread.mask));
    brought[lane] = thread.brought;
  }
  act(brought);
  for (uint32_t lane = 0; lane < kLanes; ++lane)
    if (last.mask >> lane & 1) {
      warp[lane].state = Thread::Ready;
      ready.push_back(&warp[lane]);
    }
}

void Grid::meet(uint32_t mask, llvm::StringRef name, uint32_t operand,
                void *brought, llvm::function_ref<void(const Brought &)> act) {
  Thread &thread = *current;
  if (!(mask >> thread.index % kLanes & 1))
    fail(llvm::formatv("takes part in {0} of lanes {1:x}", name, mask));
  thread.state = Thread::InWarp;
  thread.operation = name;
  thread.mask = mask;
  thread.operand = operand;
  thread.brought = brought;
  releaseWarp(thread, act);
  wait();
}

uint32_t Grid::exchange(uint32_t mask, llvm::StringRef name, uint32_t operand,
                        uint32_t value, uint32_t source) {
  if (!(mask >> source % kLanes & 1))
    fail(llvm::formatv("takes part in {0} of lanes {1:x} for lane {2}", name,
                       mask, source));
  struct {
    uint32_t value, source, result;
  } own = {value, source % kLanes, 0};
  meet(mask, name, operand, &own, [](const Brought &brought) {
    for (void *lane : brought)
      if (auto *one = static_cast<decltype(own) *>(lane))
        one->result =
            static_cast<decltype(own) *>(brought[one->source])->value;
  });
  return own.result;
}

void Grid::copyAsync(void *to, const void *from, uint32_t bytes,
                     uint32_t size) {
  check(to, size, size, /*writes=*/true);
  if (bytes)
    check(from, bytes, size, /*writes=*/false);
  // Whoever still reads what was there notices, too.
  std::memset(to, kPoison, size);
  current->copies.push_back({static_cast<uint8_t *>(to),
                             static_cast<const uint8_t *>(from), bytes, size,
                             current->copyGroups});
}

void Grid::waitForCopies(uint32_t pending) {
  Thread &thread = *current;
  llvm::erase_if(thread.copies, [&](const Thread::Copy &copy) {
    if (copy.group + pending >= thread.copyGroups)
      return false;
    std::memcpy(copy.to, copy.from, copy.bytes);
    std::memset(copy.to + copy.bytes, 0, copy.size - copy.bytes);
    return true;
  });
}
