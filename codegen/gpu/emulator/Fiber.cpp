//===- Fiber.cpp - Stacks that a thread of the host switches among --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/emulator/Fiber.h"

#include <cstdint>
#include <cstring>
#include <vector>

using namespace sputnik::gpu;

extern "C" {
/// Saves what a call must preserve on the stack, and the stack pointer in
/// *save; restores the same from `stackPointer`.
void sputnik_fiber_swap(void **save, void *stackPointer);
/// Where a new fiber starts: calls the function in the second preserved
/// register with the first.
void sputnik_fiber_start();
}

#if defined(__x86_64__)
static constexpr size_t kFrameWords = 9, kArgument = 3, kEntry = 2, kReturn = 6;
__asm__(R"(
.text
.globl sputnik_fiber_swap
.hidden sputnik_fiber_swap
.type sputnik_fiber_swap, @function
sputnik_fiber_swap:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sputnik_fiber_swap, .-sputnik_fiber_swap
.globl sputnik_fiber_start
.hidden sputnik_fiber_start
.type sputnik_fiber_start, @function
sputnik_fiber_start:
  movq %r12, %rdi
  callq *%r13
  ud2
.size sputnik_fiber_start, .-sputnik_fiber_start
)");
#elif defined(__aarch64__)
static constexpr size_t kFrameWords = 20, kArgument = 0, kEntry = 1,
                        kReturn = 11;
__asm__(R"(
.text
.globl sputnik_fiber_swap
.hidden sputnik_fiber_swap
.type sputnik_fiber_swap, @function
sputnik_fiber_swap:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size sputnik_fiber_swap, .-sputnik_fiber_swap
.globl sputnik_fiber_start
.hidden sputnik_fiber_start
.type sputnik_fiber_start, @function
sputnik_fiber_start:
  mov x0, x19
  blr x20
  brk #1
.size sputnik_fiber_start, .-sputnik_fiber_start
)");
#else
#error "the emulator has no fibers for this machine"
#endif

/// Stacks that nobody uses: a launch needs a thousand, and the kernel of the
/// host would clear each again.
static thread_local std::vector<std::unique_ptr<std::byte[]>> spareStacks;

Fiber::Fiber(void (*entry)(void *), void *argument) {
  if (spareStacks.empty()) {
    stack.reset(new std::byte[kStackBytes]);
  } else {
    stack = std::move(spareStacks.back());
    spareStacks.pop_back();
  }
  restart(entry, argument);
}

Fiber::~Fiber() {
  if (stack)
    spareStacks.push_back(std::move(stack));
}

void Fiber::restart(void (*entry)(void *), void *argument) {
  // What sputnik_fiber_swap would have saved, below an aligned top.
  auto top = reinterpret_cast<uintptr_t>(stack.get() + kStackBytes);
  auto *frame = reinterpret_cast<void **>(top & ~uintptr_t(15)) - kFrameWords;
  std::memset(frame, 0, kFrameWords * sizeof(void *));
  frame[kArgument] = argument;
  frame[kEntry] = reinterpret_cast<void *>(entry);
  frame[kReturn] = reinterpret_cast<void *>(&sputnik_fiber_start);
  stackPointer = frame;
}

void Fiber::swap(Fiber &from, Fiber &to) {
  sputnik_fiber_swap(&from.stackPointer, to.stackPointer);
}
