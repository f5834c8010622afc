//===- WarpgroupInstructions.cpp - What instructions of sm_90a do ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After the PTX ISA, NVIDIA.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/emulator/Grid.h"
#include "codegen/gpu/emulator/Instructions.h"

#include "llvm/Support/FormatVariadic.h"

#include <bit>
#include <cstring>

using namespace sputnik::gpu;

static constexpr uint32_t kThreads = WarpgroupProducts::kThreads;

//===----------------------------------------------------------------------===//
// Barriers and copies
//===----------------------------------------------------------------------===//

static void initBarrier(void *barrier, uint32_t arrivals) {
  Grid::running().initBarrier(barrier, arrivals);
}
static void arrive(void *barrier) { Grid::running().arrive(barrier, 0); }
static void arriveExpecting(void *barrier, uint32_t bytes) {
  Grid::running().arrive(barrier, bytes);
}
static void waitForPhase(void *barrier, uint32_t parity) {
  Grid::running().waitForPhase(barrier, parity);
}
static void copyBulk(void *to, const void *from, uint32_t bytes,
                     void *barrier) {
  Grid::running().copyBulk(to, from, bytes, barrier);
}
/// The emulator's memory has one order for all.
static void fence() {}

/// All warps of the warpgroup must say the same.
static void setRegisters(uint32_t) {
  Grid::running().meetWarpgroup("setmaxnreg", nullptr,
                                [](const Grid::Brought &) {});
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

namespace {

/// A matrix in shared memory: rows (of A, or of B transposed) by 16 columns of
/// two bytes each, as a descriptor says.
class SharedMatrix {
public:
  explicit SharedMatrix(uint64_t descriptor)
      : leading((descriptor >> 16 & 0x3fff) << 4),
        stride((descriptor >> 32 & 0x3fff) << 4), swizzle(descriptor >> 62) {
    Grid &grid = Grid::running();
    if (descriptor >> 49 & 7)
      grid.fail("has a matrix descriptor with a base offset, which is not "
                "emulated");
    if (swizzle > 1)
      grid.fail(llvm::formatv("has a matrix descriptor of swizzle mode {0}, "
                              "which is not emulated",
                              swizzle));
    const auto base = reinterpret_cast<uint64_t>(grid.shared());
    start = ((descriptor & 0x3fff) << 4) - (base & 0x3ffff) & 0x3ffff;
  }

  /// Reads row `row` of 8 columns `half`.
  std::array<float, 8> read(uint32_t row, uint32_t half) const {
    Grid &grid = Grid::running();
    // Without a swizzle, 8 rows of 16 bytes lie together; with the one of 128
    // bytes, 8 rows of 128 bytes, whose 16-byte pieces change places.
    uint64_t offset =
        swizzle ? start + row / 8 * stride + row % 8 * 128 + half * 16
                : start + row / 8 * stride + row % 8 * 16 + half * leading;
    if (swizzle) {
      const uint64_t address =
          reinterpret_cast<uint64_t>(grid.shared()) + offset;
      offset ^= (address >> 7 & 7) << 4;
    }
    if (offset + 16 > grid.sharedBytes())
      grid.fail(llvm::formatv("multiplies with byte {0} of the {1} bytes of "
                              "shared memory",
                              offset, grid.sharedBytes()));
    std::array<uint16_t, 8> stored;
    std::memcpy(stored.data(), grid.shared() + offset, sizeof(stored));
    std::array<float, 8> values;
    for (uint32_t i = 0; i < 8; ++i)
      values[i] = std::bit_cast<float>(uint32_t(stored[i]) << 16);
    return values;
  }

private:
  uint64_t start, leading, stride;
  uint64_t swizzle;
};

/// One row of 16 values.
using Row = std::array<float, 16>;

} // namespace

static Row readRow(const SharedMatrix &matrix, uint32_t row) {
  Row result;
  for (uint32_t half = 0; half < 2; ++half)
    llvm::copy(matrix.read(row, half), result.begin() + 8 * half);
  return result;
}

/// Adds a b^T to sums: thread t has rows 16 (t / 32) + t % 32 / 4 and 8 more, of
/// each 8 columns 2 (t % 4) and the next. Each sum is rounded once, where the
/// ISA leaves order and rounding open.
static void multiply(const std::array<Row, 64> &a, uint64_t b,
                     llvm::ArrayRef<WarpgroupProducts::Sums> sums) {
  const SharedMatrix matrix(b);
  const auto columns = static_cast<uint32_t>(2 * sums[0]->size());
  for (uint32_t column = 0; column < columns; ++column) {
    const Row values = readRow(matrix, column);
    const uint32_t place = column / 8 * 4 + column % 2;
    for (uint32_t row = 0; row < 64; ++row) {
      const uint32_t thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2;
      float &sum = (*sums[thread])[place + row % 16 / 8 * 2];
      double exact = sum;
      for (uint32_t k = 0; k < 16; ++k)
        exact += double(a[row][k]) * values[k];
      sum = static_cast<float>(exact);
    }
  }
}

/// Starts what `form` gives for the threads' operands.
template <typename Operands>
static void startProduct(llvm::StringRef name, Operands operands, float *sums,
                         uint32_t count,
                         void (*check)(Grid &, llvm::ArrayRef<Operands *>),
                         std::array<Row, 64> (*left)(
                             const std::array<Operands, kThreads> &)) {
  Grid &grid = Grid::running();
  const llvm::MutableArrayRef<float> registers(sums, count);
  if (!grid.products().isFenced(grid.inWarpgroup()) &&
      (!WarpgroupProducts::areTokens(registers) || operands.hasRegisters))
    grid.fail("multiplies registers with no wgmma.fence since they were "
              "written");
  struct {
    Operands operands;
    llvm::MutableArrayRef<float> registers;
  } own = {operands, registers};
  grid.meetWarpgroup(name, &own, [&](const Grid::Brought &brought) {
    std::array<Operands, kThreads> all;
    std::array<llvm::MutableArrayRef<float>, kThreads> allRegisters;
    std::array<Operands *, kThreads> pointers;
    for (uint32_t t = 0; t < kThreads; ++t) {
      auto *one = static_cast<decltype(own) *>(brought[t]);
      all[t] = one->operands;
      allRegisters[t] = one->registers;
      pointers[t] = &all[t];
    }
    check(grid, pointers);
    grid.products().start(
        [all, left](llvm::ArrayRef<WarpgroupProducts::Sums> sums) {
          multiply(left(all), all[0].b, sums);
        },
        allRegisters);
    // Early or late: operands must be there from the start to the wait.
    if (grid.draw() % 2)
      grid.products().formAll();
  });
}

namespace {
struct InShared {
  uint64_t a, b;
  static constexpr bool hasRegisters = false;
};
struct InRegisters {
  std::array<uint32_t, 4> a;
  uint64_t b;
  static constexpr bool hasRegisters = true;
};
} // namespace

static void multiplyShared(float *sums, uint32_t count, uint64_t a,
                           uint64_t b) {
  startProduct<InShared>(
      "wgmma of shared memory", {a, b}, sums, count,
      [](Grid &grid, llvm::ArrayRef<InShared *> all) {
        for (InShared *one : all)
          if (one->a != all[0]->a || one->b != all[0]->b)
            grid.fail("has other matrix descriptors than its warpgroup");
      },
      [](const std::array<InShared, kThreads> &all) {
        const SharedMatrix matrix(all[0].a);
        std::array<Row, 64> rows;
        for (uint32_t row = 0; row < 64; ++row)
          rows[row] = readRow(matrix, row);
        return rows;
      });
}

static void multiplyRegisters(float *sums, uint32_t count, uint32_t a0,
                              uint32_t a1, uint32_t a2, uint32_t a3,
                              uint64_t b) {
  startProduct<InRegisters>(
      "wgmma of registers", {{a0, a1, a2, a3}, b}, sums, count,
      [](Grid &grid, llvm::ArrayRef<InRegisters *> all) {
        for (InRegisters *one : all)
          if (one->b != all[0]->b)
            grid.fail("has other matrix descriptors than its warpgroup");
      },
      [](const std::array<InRegisters, kThreads> &all) {
        std::array<Row, 64> rows;
        for (uint32_t row = 0; row < 64; ++row)
          for (uint32_t k = 0; k < 16; ++k) {
            const uint32_t thread = row / 16 * 32 + row % 8 * 4 + k % 8 / 2;
            const uint32_t word = all[thread].a[row % 16 / 8 + k / 8 * 2];
            rows[row][k] = std::bit_cast<float>(k % 2 ? word & 0xffff0000
                                                      : word << 16);
          }
        return rows;
      });
}

static void fenceRegisters() {
  Grid &grid = Grid::running();
  grid.products().fence(grid.inWarpgroup());
}
static void commitProducts() {
  Grid &grid = Grid::running();
  grid.products().commit(grid.inWarpgroup());
}
static void waitForProducts(uint32_t pending) {
  Grid &grid = Grid::running();
  grid.products().wait(grid.inWarpgroup(), pending);
}
static void finishProducts(float *sums, uint32_t count) {
  Grid &grid = Grid::running();
  grid.products().wait(grid.inWarpgroup(), 0);
  grid.products().resolve(grid.inWarpgroup(), {sums, count});
}

template <typename Function> static void *address(Function *function) {
  return reinterpret_cast<void *>(function);
}

const llvm::StringMap<void *> &sputnik::gpu::warpgroupInstructions() {
  static const llvm::StringMap<void *> instructions = {
      {"ptx.mbarrier.init", address(initBarrier)},
      {"ptx.mbarrier.arrive", address(arrive)},
      {"ptx.mbarrier.arrive.expect_tx", address(arriveExpecting)},
      {"ptx.mbarrier.wait", address(waitForPhase)},
      {"ptx.cp.async.bulk", address(copyBulk)},
      {"ptx.fence.mbarrier_init", address(fence)},
      {"ptx.fence.proxy.async", address(fence)},
      {"ptx.setmaxnreg.inc", address(setRegisters)},
      {"ptx.setmaxnreg.dec", address(setRegisters)},
      {"ptx.wgmma.fence", address(fenceRegisters)},
      {"ptx.wgmma.commit_group", address(commitProducts)},
      {"ptx.wgmma.wait_group", address(waitForProducts)},
      {"ptx.wgmma.wait_group.sums", address(finishProducts)},
      {"ptx.wgmma.mma_async.shared", address(multiplyShared)},
      {"ptx.wgmma.mma_async.registers", address(multiplyRegisters)},
  };
  return instructions;
}
