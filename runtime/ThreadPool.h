//===- ThreadPool.h - The threads that enter a phase together -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_THREADPOOL_H
#define SPUTNIK_RUNTIME_THREADPOOL_H

#include "runtime/Cpus.h"
#include "runtime/Result.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <pthread.h>
#include <sched.h>
#include <vector>

namespace sputnik::rt {

/// A fixed number of threads, the caller's among them. All of them run every
/// function that `run` is given, at the same time, as generated code needs that
/// meets itself in barriers. Between two calls the workers spin for a moment
/// and then sleep.
class ThreadPool {
public:
  static constexpr int64_t maxThreads = 1024;

  using Function = void (*)(void *context, int64_t thread, int64_t threads);

  /// Starts `threads` - 1 workers; 1 <= threads <= maxThreads. Threads are
  /// bound to cores when there is exactly one for each core of `cpus`: the
  /// only case in which the scheduler could do nothing but harm. Otherwise, if
  /// the cores are of several nodes, each thread is bound to the processors of
  /// one. A node has threads with consecutive numbers, about as many as its part
  /// of the cores.
  static Result<std::unique_ptr<ThreadPool>> create(int64_t threads,
                                                    const Cpus &cpus);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int64_t size() const { return static_cast<int64_t>(workers.size()) + 1; }
  /// The nodes that threads are bound to; 1 if they are not bound.
  int64_t nodes() const { return threadNodes.back() + 1; }
  /// Which of them, counted from 0, thread `thread` is bound to.
  int64_t nodeOf(int64_t thread) const {
    return threadNodes[static_cast<size_t>(thread)];
  }

  /// Calls `function(context, thread, size())` on every thread and returns when
  /// all have returned. Only one thread at a time may call it, never from
  /// inside a call.
  void run(Function function, void *context);

  /// `run` for anything callable as body(thread, threads).
  template <typename Body> void parallel(Body &&body) {
    run(
        [](void *context, int64_t thread, int64_t threads) {
          (*static_cast<std::remove_reference_t<Body> *>(context))(thread,
                                                                   threads);
        },
        &body);
  }

private:
  ThreadPool() = default;
  /// Decides what each thread is bound to.
  void chooseProcessors(const Cpus &cpus, bool oneEach);
  void bind(int64_t thread) const;

  struct Worker {
    ThreadPool *pool;
    int64_t index;
    pthread_t handle;
  };
  static void *workerMain(void *worker);
  void work(int64_t index);
  void stop();

  alignas(64) std::atomic<uint32_t> generation = 0;
  std::atomic<uint32_t> sleepers = 0;
  Function function = nullptr;
  void *context = nullptr;
  bool stopping = false;
  alignas(64) std::atomic<uint32_t> remaining = 0;
  std::atomic<uint32_t> callerSleeps = 0;
  alignas(64) std::vector<std::unique_ptr<Worker>> workers;
  int64_t threads = 1;
  uint64_t spinNanoseconds = 0;
  std::vector<cpu_set_t> processors; ///< Of each thread; empty: not bound.
  std::vector<int64_t> threadNodes;
  cpu_set_t callerAffinity;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_THREADPOOL_H
