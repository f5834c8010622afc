//===- Instructions.cpp - What NVVM intrinsics do -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After the PTX ISA, NVIDIA.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/emulator/Instructions.h"

#include "codegen/gpu/emulator/Grid.h"

#include <bit>
#include <cstring>

using namespace sputnik::gpu;

static uint32_t threadIdX() { return Grid::running().threadIndex(); }
static uint32_t blockIdX() { return Grid::running().blockX(); }
static uint32_t blockIdY() { return Grid::running().blockY(); }
static void *sharedMemory() { return Grid::running().shared(); }
static void check(const void *ptr, uint64_t bytes, uint64_t alignment,
                  bool writes) {
  Grid::running().check(ptr, bytes, alignment, writes);
}

static void barrier(uint32_t) { Grid::running().barrier(); }
static void warpBarrier(uint32_t mask) {
  Grid &grid = Grid::running();
  grid.exchange(mask, "bar.warp.sync", 0, 0, grid.threadIndex());
}
static uint32_t shuffleXor(uint32_t mask, uint32_t value, uint32_t lanes,
                           uint32_t) {
  Grid &grid = Grid::running();
  return grid.exchange(mask, "shfl.sync.bfly", lanes, value,
                       (grid.threadIndex() ^ lanes) % 32);
}
static float shuffleXorFloat(uint32_t mask, float value, uint32_t lanes,
                             uint32_t clamp) {
  return std::bit_cast<float>(
      shuffleXor(mask, std::bit_cast<uint32_t>(value), lanes, clamp));
}

static uint32_t dot4(uint32_t a, uint32_t b, uint32_t sum) {
  for (int i = 0; i < 32; i += 8)
    sum += static_cast<uint32_t>(static_cast<int8_t>(a >> i) *
                                 static_cast<int8_t>(b >> i));
  return sum;
}

/// Bit 3 of a selector spreads the sign of the byte.
static uint32_t permuteBytes(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = uint64_t(high) << 32 | low;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t select = selector >> (4 * i);
    auto byte = static_cast<uint8_t>(bytes >> (8 * (select & 7)));
    if (select & 8)
      byte = byte & 0x80 ? 0xff : 0;
    result |= uint32_t(byte) << (8 * i);
  }
  return result;
}

/// To nearest, ties to even, as cvt.rn does. The result lies in the low half of
/// the register that a float is returned in, which is where the host's back end
/// expects it.
static float toBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const bool isNaN = (bits & 0x7fffffff) > 0x7f800000;
  return std::bit_cast<float>(
      isNaN ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename Function> static void *address(Function *function) {
  return reinterpret_cast<void *>(function);
}

const llvm::StringMap<void *> &sputnik::gpu::emulatedInstructions() {
  static const llvm::StringMap<void *> instructions = {
      {"shared", address(sharedMemory)},
      {"check", address(check)},
      {"nvvm.read.ptx.sreg.tid.x", address(threadIdX)},
      {"nvvm.read.ptx.sreg.ctaid.x", address(blockIdX)},
      {"nvvm.read.ptx.sreg.ctaid.y", address(blockIdY)},
      {"nvvm.barrier.cta.sync.aligned.all", address(barrier)},
      {"nvvm.bar.warp.sync", address(warpBarrier)},
      {"nvvm.shfl.sync.bfly.i32", address(shuffleXor)},
      {"nvvm.shfl.sync.bfly.f32", address(shuffleXorFloat)},
      {"nvvm.idp4a.s.s", address(dot4)},
      {"nvvm.prmt", address(permuteBytes)},
  };
  return instructions;
}

llvm::ArrayRef<std::pair<const char *, void *>>
sputnik::gpu::libraryFunctions() {
  static const std::pair<const char *, void *> functions[] = {
      {"__truncsfbf2", address(toBFloat16)},
      {"memset", address(&std::memset)},
      {"memcpy", address(&std::memcpy)},
  };
  return functions;
}
