//===- Grid.cpp - Blocks of threads on one thread of the host -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/emulator/Grid.h"

#include "llvm/Support/Alignment.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

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
  thread->state = Thread::Done;
  ++thread->block->done;
  --grid.liveThreads;
  Fiber::swap(thread->fiber, grid.scheduler);
}

void Grid::startBlock(Block &block) {
  block.x = static_cast<uint32_t>(started % shape.blocksX);
  block.y = static_cast<uint32_t>(started / shape.blocksX);
  block.waiting = {};
  block.done = 0;
  block.barriers.clear();
  block.products.assign(shape.threads / kWarpgroup, WarpgroupProducts());
  ++started;
  std::memset(block.shared, kPoison, shape.sharedBytes);
  for (Thread &thread : block.threads) {
    thread.state = Thread::Ready;
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
    // Zero bytes have an address too.
    block.memory =
        std::make_unique<uint8_t[]>(shape.sharedBytes + kSharedAlignment);
    block.shared = reinterpret_cast<uint8_t *>(llvm::alignTo(
        reinterpret_cast<uintptr_t>(block.memory.get()), kSharedAlignment));
    block.threads.resize(shape.threads);
    for (auto [index, thread] : llvm::enumerate(block.threads)) {
      thread.block = &block;
      thread.index = static_cast<uint32_t>(index);
      thread.fiber = Fiber(&Grid::enter, &thread);
    }
    startBlock(block);
  }
  while (!ready.empty() || !bulkCopies.empty()) {
    if (ready.empty() || (!bulkCopies.empty() && random() % 16 == 0)) {
      completeCopy();
      continue;
    }
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
    if (const uint32_t waiting = block.waiting[0];
        waiting && waiting + block.done == shape.threads) {
      error = llvm::formatv("{0}: ended while {1} threads of its block wait in "
                            "a barrier",
                            place(*current), waiting);
      break;
    }
    if (block.done < shape.threads)
      continue;
    finishBlock(block);
    if (!error.empty())
      break;
    if (started < count)
      startBlock(block);
  }
  active = nullptr;
  if (!error.empty())
    return llvm::createStringError(error);
  return liveThreads ? describeDeadlock() : llvm::Error::success();
}

/// Checks that nothing is under way any more.
void Grid::finishBlock(Block &block) {
  for (const BulkCopy &copy : bulkCopies)
    if (copy.block == &block)
      error = llvm::formatv("block ({0}, {1}) ended while a copy of {2} bytes "
                            "to its shared memory was under way",
                            block.x, block.y, copy.bytes);
  for (const WarpgroupProducts &products : block.products)
    if (products.isUnderWay())
      error = llvm::formatv("block ({0}, {1}) ended while products were under "
                            "way",
                            block.x, block.y);
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
  auto inside = [&](const uint8_t *from, const uint8_t *to) {
    return begin >= from && begin + bytes <= to;
  };
  const uint8_t *shared = current->block->shared;
  if (inside(shared, shared + shape.sharedBytes))
    return;
  auto accepts = [&](const EmulatedBuffer &buffer) {
    return inside(buffer.begin, buffer.end) && (buffer.writable || !writes);
  };
  if (lastBuffer < buffers.size() && accepts(buffers[lastBuffer]))
    return;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (accepts(buffers[i])) {
      lastBuffer = i;
      return;
    }
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
  fail(llvm::formatv("{0} {1} bytes {2}", verb, bytes, near));
}

void Grid::releaseBarrier(Block &block, uint32_t id) {
  block.waiting[id] = 0;
  for (Thread &thread : block.threads)
    if (thread.state == Thread::InBarrier && thread.operand == id) {
      thread.state = Thread::Ready;
      ready.push_back(&thread);
    }
}

void Grid::barrier(uint32_t id, uint32_t count) {
  Block &block = *current->block;
  if (!count) {
    count = shape.threads;
    if (block.done)
      fail("waits in a barrier that threads of its block have left for good");
  }
  if (id >= block.waiting.size() || count > shape.threads || count % kLanes)
    fail(llvm::formatv("waits for {0} threads in barrier {1}", count, id));
  current->state = Thread::InBarrier;
  current->operation = "barrier";
  current->operand = id;
  if (++block.waiting[id] == count)
    releaseBarrier(block, id);
  wait();
}

void Grid::releaseGroup(Thread &last,
                        llvm::function_ref<void(const Brought &)> act) {
  Thread *group = &last.block->threads[last.index / last.lanes * last.lanes];
  std::array<void *, kWarpgroup> brought = {};
  auto takesPart = [&](uint32_t lane) {
    return last.lanes > kLanes || last.mask >> lane & 1;
  };
  for (uint32_t lane = 0; lane < last.lanes; ++lane) {
    Thread &thread = group[lane];
    if (!takesPart(lane))
      continue;
    // A warp of the group may still be on its way.
    if (thread.state != Thread::InGroup || thread.lanes < last.lanes)
      return;
    if (thread.operation != last.operation || thread.mask != last.mask ||
        thread.operand != last.operand)
      fail(llvm::formatv("is in {0} of {1} with lanes {2:x}, lane {3} is in "
                         "{4} of {5} with lanes {6:x}",
                         last.operation, last.operand, last.mask, lane,
                         thread.operation, thread.operand, thread.mask));
    brought[lane] = thread.brought;
  }
  act(Brought(brought).take_front(last.lanes));
  for (uint32_t lane = 0; lane < last.lanes; ++lane)
    if (takesPart(lane)) {
      group[lane].state = Thread::Ready;
      ready.push_back(&group[lane]);
    }
}

void Grid::meet(uint32_t mask, llvm::StringRef name, uint32_t operand,
                void *brought, llvm::function_ref<void(const Brought &)> act) {
  Thread &thread = *current;
  if (!(mask >> thread.index % kLanes & 1))
    fail(llvm::formatv("takes part in {0} of lanes {1:x}", name, mask));
  thread.state = Thread::InGroup;
  thread.operation = name;
  thread.lanes = kLanes;
  thread.mask = mask;
  thread.operand = operand;
  thread.brought = brought;
  releaseGroup(thread, act);
  wait();
}

void Grid::meetWarpgroup(llvm::StringRef name, void *brought,
                         llvm::function_ref<void(const Brought &)> act) {
  Thread &thread = *current;
  if (shape.threads % kWarpgroup)
    fail(llvm::formatv("is in {0}, but blocks of {1} threads are no whole "
                       "warpgroups",
                       name, shape.threads));
  thread.state = Thread::InGroup;
  thread.operation = name;
  thread.lanes = kWarpgroup;
  thread.mask = ~0u;
  thread.operand = 0;
  thread.brought = brought;
  releaseGroup(thread, act);
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

//===----------------------------------------------------------------------===//
// Barriers in shared memory
//===----------------------------------------------------------------------===//

void Grid::initBarrier(void *barrier, uint32_t arrivals) {
  check(barrier, 8, 8, /*writes=*/true);
  current->block->barriers[barrier] = {arrivals, arrivals, 0, 0};
}

Grid::SharedBarrier &Grid::barrierAt(const void *barrier) {
  auto &barriers = current->block->barriers;
  auto found = barriers.find(barrier);
  if (found == barriers.end())
    fail(llvm::formatv("uses byte {0} of shared memory as a barrier, which it "
                       "is not",
                       static_cast<const uint8_t *>(barrier) - shared()));
  return found->second;
}

void Grid::advance(Block &block, const void *at, SharedBarrier &barrier) {
  if (barrier.missing || barrier.bytes)
    return;
  barrier.missing = barrier.arrivals;
  barrier.parity ^= 1;
  for (Thread &thread : block.threads)
    if (thread.state == Thread::InPhase && thread.phase == at) {
      thread.state = Thread::Ready;
      ready.push_back(&thread);
    }
}

void Grid::arrive(void *at, uint32_t bytes) {
  SharedBarrier &barrier = barrierAt(at);
  if (!barrier.missing)
    fail(llvm::formatv("arrives at a barrier in shared memory that {0} others "
                       "have come to in this phase",
                       barrier.arrivals));
  barrier.bytes += bytes;
  --barrier.missing;
  advance(*current->block, at, barrier);
}

void Grid::waitForPhase(void *at, uint32_t parity) {
  // Who is late sees the next phase, as one that asks again and again.
  while (barrierAt(at).parity == parity) {
    current->state = Thread::InPhase;
    current->operation = "mbarrier.try_wait";
    current->phase = at;
    wait();
  }
}

void Grid::copyBulk(void *to, const void *from, uint32_t bytes,
                    void *barrier) {
  check(to, bytes, 16, /*writes=*/true);
  check(from, bytes, 16, /*writes=*/false);
  if (!bytes || bytes % 16)
    fail(llvm::formatv("copies {0} bytes, expected a multiple of 16", bytes));
  barrierAt(barrier);
  std::memset(to, kPoison, bytes);
  bulkCopies.push_back({current->block, static_cast<uint8_t *>(to),
                        static_cast<const uint8_t *>(from), bytes, barrier});
}

/// Any of those under way.
void Grid::completeCopy() {
  std::swap(bulkCopies[random() % bulkCopies.size()], bulkCopies.back());
  const BulkCopy copy = bulkCopies.back();
  bulkCopies.pop_back();
  std::memcpy(copy.to, copy.from, copy.bytes);
  SharedBarrier &barrier = copy.block->barriers.at(copy.barrier);
  barrier.bytes -= copy.bytes;
  advance(*copy.block, copy.barrier, barrier);
}
