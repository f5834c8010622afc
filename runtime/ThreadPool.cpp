//===- ThreadPool.cpp - The threads that enter a phase together -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/ThreadPool.h"
#include "runtime/Clock.h"

#include <cerrno>
#include <climits>
#include <csignal>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sputnik::rt {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

/// Long enough to bridge the sampling of one token, short enough not to be
/// noticed as load.
static constexpr uint64_t spinWhenIdle = 200'000;

static void futexWait(std::atomic<uint32_t> &word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

static void futexWake(std::atomic<uint32_t> &word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

/// Spins until `done()` or the time is over; returns whether it is done.
template <typename Done>
static bool spinUntil(Done &&done, uint64_t nanoseconds) {
  if (done())
    return true;
  if (nanoseconds == 0)
    return false;
  const uint64_t end = monotonicNanoseconds() + nanoseconds;
  do {
    for (int i = 0; i < 64; ++i) {
      relax();
      if (done())
        return true;
    }
  } while (monotonicNanoseconds() < end);
  return false;
}

void ThreadPool::chooseProcessors(const Cpus &cpus, bool oneEach) {
  threadNodes.assign(static_cast<size_t>(threads), 0);
  if (threads == 1 || (!oneEach && cpus.nodes.size() == 1) ||
      cpus.all.back() >= CPU_SETSIZE ||
      pthread_getaffinity_np(pthread_self(), sizeof(cpu_set_t),
                             &callerAffinity) != 0)
    return;
  size_t last = 0;
  for (size_t thread = 0; thread < threadNodes.size(); ++thread) {
    const int core =
        cpus.cores[thread * cpus.cores.size() / threadNodes.size()];
    const size_t node = cpus.nodeOf(core);
    if (thread > 0)
      threadNodes[thread] = threadNodes[thread - 1] + (node != last);
    last = node;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (oneEach)
      CPU_SET(core, &set);
    else
      for (int cpu : cpus.nodes[node])
        CPU_SET(cpu, &set);
    processors.push_back(set);
  }
}

void ThreadPool::bind(int64_t thread) const {
  // Failure only costs speed.
  if (!processors.empty())
    pthread_setaffinity_np(pthread_self(), sizeof(cpu_set_t),
                           &processors[static_cast<size_t>(thread)]);
}

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(int64_t threads,
                                                       const Cpus &cpus) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool);
  pool->threads = threads;
  const auto usable =
      std::min<int64_t>(static_cast<int64_t>(cpus.all.size()), cpus.quota);
  if (threads <= usable)
    pool->spinNanoseconds = spinWhenIdle;
  pool->chooseProcessors(
      cpus, threads == static_cast<int64_t>(cpus.cores.size()) &&
                threads <= usable);

  // Signals are for the thread that started the pool.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failure = 0;
  for (int64_t index = 1; index < threads && failure == 0; ++index) {
    auto worker = std::make_unique<Worker>(Worker{pool.get(), index, {}});
    failure =
        pthread_create(&worker->handle, nullptr, workerMain, worker.get());
    if (failure == 0)
      pool->workers.push_back(std::move(worker));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (failure != 0)
    return SPUTNIK_ERROR(
        "cannot start thread %zu of %lld: %s", pool->workers.size() + 2,
        static_cast<long long>(threads), systemMessage(failure).c_str());
  pool->bind(0);
  return pool;
}

ThreadPool::~ThreadPool() {
  stop();
  if (!processors.empty())
    pthread_setaffinity_np(pthread_self(), sizeof(callerAffinity),
                           &callerAffinity);
}

void ThreadPool::stop() {
  stopping = true;
  generation.fetch_add(1);
  futexWake(generation, INT_MAX);
  for (const std::unique_ptr<Worker> &worker : workers)
    pthread_join(worker->handle, nullptr);
}

void *ThreadPool::workerMain(void *argument) {
  auto *worker = static_cast<Worker *>(argument);
  worker->pool->work(worker->index);
  return nullptr;
}

void ThreadPool::work(int64_t index) {
  bind(index);
  for (uint32_t seen = 0;; ++seen) {
    const auto changed = [&] {
      return generation.load(std::memory_order_acquire) != seen;
    };
    if (!spinUntil(changed, spinNanoseconds)) {
      // Sequentially consistent with the caller's increment: either it sees
      // this sleeper or the kernel sees the new generation.
      sleepers.fetch_add(1);
      while (!changed())
        futexWait(generation, seen);
      sleepers.fetch_sub(1);
    }
    if (stopping)
      return;
    function(context, index, threads);
    if (remaining.fetch_sub(1) == 1 && callerSleeps.load() != 0)
      futexWake(remaining, 1);
  }
}

void ThreadPool::run(Function newFunction, void *newContext) {
  if (threads == 1)
    return newFunction(newContext, 0, 1);
  function = newFunction;
  context = newContext;
  remaining.store(static_cast<uint32_t>(threads - 1),
                  std::memory_order_relaxed);
  generation.fetch_add(1);
  if (sleepers.load() != 0)
    futexWake(generation, INT_MAX);
  newFunction(newContext, 0, threads);

  const auto finished = [&] {
    return remaining.load(std::memory_order_acquire) == 0;
  };
  if (spinUntil(finished, spinNanoseconds))
    return;
  callerSleeps.store(1);
  while (const uint32_t count = remaining.load())
    futexWait(remaining, count);
  callerSleeps.store(0);
}

} // namespace sputnik::rt
