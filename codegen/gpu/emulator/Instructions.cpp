//===- Instructions.cpp - What NVVM intrinsics do -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After the PTX ISA, NVIDIA.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/emulator/Instructions.h"

#include "codegen/gpu/emulator/Grid.h"

#include <bit>
#include <cmath>
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
static void barrierOf(uint32_t id, uint32_t count) {
  Grid::running().barrier(id, count);
}
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

// Launches that start early.

static void awaitPrevious() { Grid::running().awaitPrevious(); }
static void letDependentsStart() {}
static void prefetch(const void *ptr, uint32_t bytes, uint64_t, bool) {
  Grid::running().prefetch(ptr, bytes);
}

// 8-bit floats.

/// Two E4M3 numbers as two of f16, in the register of a float.
static float halvesOfFloat8(uint16_t pair) {
  uint32_t bits = 0;
  for (int i = 0; i < 2; ++i) {
    const uint32_t byte = pair >> (8 * i) & 255, magnitude = byte & 127;
    // The significand counts 2^-10 of the exponent's power of two.
    const uint32_t exponent = magnitude >> 3, significand = magnitude & 7;
    uint32_t half;
    if (magnitude == 127) {
      half = 0x7fff;
    } else if (exponent) {
      half = (exponent + 8) << 10 | significand << 7;
    } else {
      // Subnormal in E4M3: n 2^-9, normal in f16.
      half = 0;
      for (uint32_t n = significand, power = 6; n; --power, n = n << 1 & 15)
        if (n >> 3) {
          half = (power + 3) << 10 | (n & 7) << 7;
          break;
        }
    }
    bits |= (half | (byte & 128) << 8) << (16 * i);
  }
  return std::bit_cast<float>(bits);
}

// Asynchronous copies.

static void copyAsync16(void *to, const void *from, uint32_t bytes) {
  Grid::running().copyAsync(to, from, bytes, 16);
}
static void copyAsync4(void *to, const void *from) {
  Grid::running().copyAsync(to, from, 4, 4);
}
static void commitCopies() { Grid::running().commitCopies(); }
static void waitForCopies(uint32_t pending) {
  Grid::running().waitForCopies(pending);
}

// Tensor cores. Lane l has group l / 4 and place l % 4: of an 8x8 matrix of
// words' halves, row `group` and columns 2 place and 2 place + 1.

static constexpr uint32_t kAllLanes = ~0u;

/// Four 8x8 matrices of 16-bit values; lane l brings the address of row l % 8
/// of matrix l / 8.
template <bool transposed>
static void loadMatrices(uint32_t *result, const void *row) {
  Grid &grid = Grid::running();
  grid.check(row, 16, 16, /*writes=*/false);
  struct {
    const uint16_t *row;
    uint32_t *result;
  } own = {static_cast<const uint16_t *>(row), result};
  grid.meet(kAllLanes, "ldmatrix", transposed, &own,
            [](const Grid::Brought &brought) {
              auto lane = [&](uint32_t i) {
                return static_cast<decltype(own) *>(brought[i]);
              };
              for (uint32_t l = 0; l < Grid::kLanes; ++l)
                for (uint32_t matrix = 0; matrix < 4; ++matrix) {
                  uint32_t word = 0;
                  for (uint32_t half = 0; half < 2; ++half) {
                    uint32_t r = l / 4, c = 2 * (l % 4) + half;
                    if (transposed)
                      std::swap(r, c);
                    const uint32_t value = lane(8 * matrix + r)->row[c];
                    word |= value << (16 * half);
                  }
                  lane(l)->result[matrix] = word;
                }
            });
}

/// What a lane has of A (16 x 4 n), B (4 n x 8), C and D (16 x 8), where a
/// 32-bit register holds n values.
struct Fragments {
  std::array<uint32_t, 4> a;
  std::array<uint32_t, 2> b;
  std::array<uint32_t, 4> c;
  uint32_t *d;

  /// Registers `[row][k / n]` of A, and `[column][k / n]` of B.
  static uint32_t wordOfA(const Grid::Brought &all, uint32_t row, uint32_t k) {
    const auto *lane = static_cast<Fragments *>(all[row % 8 * 4 + k % 4]);
    return lane->a[row / 8 + k / 4 * 2];
  }
  static uint32_t wordOfB(const Grid::Brought &all, uint32_t k,
                          uint32_t column) {
    return static_cast<Fragments *>(all[column * 4 + k % 4])->b[k / 4];
  }
};

/// `dot` multiplies one register of A with one of B.
template <typename Sum, typename Dot>
static void multiplyMatrices(llvm::StringRef name, Fragments own, Dot dot) {
  Grid::running().meet(
      kAllLanes, name, 0, &own, [&](const Grid::Brought &all) {
        for (uint32_t l = 0; l < Grid::kLanes; ++l)
          for (uint32_t i = 0; i < 4; ++i) {
            auto *lane = static_cast<Fragments *>(all[l]);
            const uint32_t row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            auto sum = Sum(lane->c[i]);
            for (uint32_t k = 0; k < 8; ++k)
              sum.add(dot(Fragments::wordOfA(all, row, k),
                          Fragments::wordOfB(all, k, column)));
            lane->d[i] = sum.bits();
          }
      });
}

/// The ISA leaves order and rounding of the sum open; this one is rounded once.
struct FloatSum {
  explicit FloatSum(uint32_t bits) : value(std::bit_cast<float>(bits)) {}
  void add(double term) { value += term; }
  uint32_t bits() const {
    return std::bit_cast<uint32_t>(static_cast<float>(value));
  }
  double value;
};
struct IntegerSum {
  explicit IntegerSum(uint32_t bits) : value(bits) {}
  void add(uint32_t term) { value += term; }
  uint32_t bits() const { return value; }
  uint32_t value;
};

static float exp2Flushed(float x) {
  const auto flushed = [](float value) {
    return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value)
                                                  : value;
  };
  return flushed(std::exp2(flushed(x)));
}

static void multiplyBFloat16(uint32_t *d, uint32_t a0, uint32_t a1,
                             uint32_t a2, uint32_t a3, uint32_t b0,
                             uint32_t b1, float c0, float c1, float c2,
                             float c3) {
  auto bits = [](float x) { return std::bit_cast<uint32_t>(x); };
  auto product = [](uint32_t x, uint32_t y) {
    return double(std::bit_cast<float>(x)) * std::bit_cast<float>(y);
  };
  multiplyMatrices<FloatSum>(
      "mma.m16n8k16.bf16",
      {{a0, a1, a2, a3}, {b0, b1}, {bits(c0), bits(c1), bits(c2), bits(c3)}, d},
      [&](uint32_t x, uint32_t y) {
        return product(x << 16, y << 16) +
               product(x & 0xffff0000, y & 0xffff0000);
      });
}

static void multiplyBytes(uint32_t *d, uint32_t a0, uint32_t a1, uint32_t a2,
                          uint32_t a3, uint32_t b0, uint32_t b1, uint32_t c0,
                          uint32_t c1, uint32_t c2, uint32_t c3) {
  multiplyMatrices<IntegerSum>(
      "mma.m16n8k32.s8",
      {{a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3}, d},
      [](uint32_t x, uint32_t y) { return dot4(x, y, 0); });
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
      {"nvvm.barrier.cta.sync.aligned.count", address(barrierOf)},
      {"nvvm.bar.warp.sync", address(warpBarrier)},
      {"nvvm.shfl.sync.bfly.i32", address(shuffleXor)},
      {"nvvm.shfl.sync.bfly.f32", address(shuffleXorFloat)},
      {"griddepcontrol.wait", address(awaitPrevious)},
      {"nvvm.griddepcontrol.launch.dependents", address(letDependentsStart)},
      {"nvvm.cp.async.bulk.prefetch.L2", address(prefetch)},
      {"nvvm.e4m3x2.to.f16x2.rn", address(halvesOfFloat8)},
      {"nvvm.idp4a.s.s", address(dot4)},
      {"nvvm.prmt", address(permuteBytes)},
      {"nvvm.ex2.approx.ftz.f32", address(exp2Flushed)},
      {"nvvm.cp.async.cg.shared.global.16.s", address(copyAsync16)},
      {"nvvm.cp.async.ca.shared.global.4", address(copyAsync4)},
      {"nvvm.cp.async.commit.group", address(commitCopies)},
      {"nvvm.cp.async.wait.group", address(waitForCopies)},
      {"nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3",
       address(loadMatrices<false>)},
      {"nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3",
       address(loadMatrices<true>)},
      {"nvvm.mma.m16n8k16.row.col.bf16", address(multiplyBFloat16)},
      {"nvvm.mma.m16n8k32.row.col.s8", address(multiplyBytes)},
  };
  return instructions;
}

llvm::ArrayRef<std::pair<const char *, void *>>
sputnik::gpu::libraryFunctions() {
  static const std::pair<const char *, void *> functions[] = {
      {"__truncsfbf2", address(toBFloat16)},
      {"exp2f", address(&exp2f)},
      {"memset", address(&std::memset)},
      {"memcpy", address(&std::memcpy)},
  };
  return functions;
}
