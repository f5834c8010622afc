//===- Fiber.h - Stacks that a thread of the host switches among *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_EMULATOR_FIBER_H
#define SPUTNIK_CODEGEN_GPU_EMULATOR_FIBER_H

#include <cstddef>
#include <memory>

namespace sputnik::gpu {

/// A stack of its own and where it was left. Swapping two takes some ten
/// nanoseconds: a block's barrier swaps thousands.
class Fiber {
public:
  /// Not a power of two: the same variable of a thousand threads would fall
  /// into the same few lines of a cache.
  static constexpr size_t kStackBytes = (64 << 10) + 320;

  /// The fiber that the calling thread is: only to be switched from and back
  /// to.
  Fiber() = default;
  /// Will call `entry(argument)`, which must not return, when first switched
  /// to.
  Fiber(void (*entry)(void *), void *argument);
  Fiber(Fiber &&) = default;
  Fiber &operator=(Fiber &&) = default;
  ~Fiber();

  /// Makes the fiber start from the beginning, on the same stack.
  void restart(void (*entry)(void *), void *argument);

  /// Leaves `from`, the running fiber, and goes on with `to`.
  static void swap(Fiber &from, Fiber &to);

private:
  std::unique_ptr<std::byte[]> stack;
  void *stackPointer = nullptr;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_EMULATOR_FIBER_H
