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
#include <vector>

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

/// One row of 16 values.
using Row = std::array<float, 16>;

/// A matrix in shared memory as a descriptor says: rows (of A, or of B
/// transposed) by 16 columns of two bytes each. Pieces of 16 bytes go along
/// columns, or N-major along rows.
class SharedMatrix {
public:
  SharedMatrix(uint64_t descriptor, bool nMajor)
      : nMajor(nMajor), leading((descriptor >> 16 & 0x3fff) << 4),
        stride((descriptor >> 32 & 0x3fff) << 4) {
    Grid &grid = Grid::running();
    if (descriptor >> 49 & 7)
      grid.fail("has a matrix descriptor with a base offset, which is not "
                "emulated");
    if (const uint64_t mode = descriptor >> 62)
      pieces = 16 >> mode;
    const auto base = reinterpret_cast<uint64_t>(grid.shared());
    start = ((descriptor & 0x3fff) << 4) - (base & 0x3ffff) & 0x3ffff;
  }

  std::vector<Row> readRows(uint32_t count) const {
    std::vector<Row> rows(count);
    for (uint32_t first = 0; first < count; first += 8)
      for (uint32_t i = 0; i < 16; ++i) {
        // Of row first + i % 8 a half, or of column i eight rows.
        const std::array<float, 8> values =
            nMajor ? read(i, first / 8) : read(first + i % 8, i / 8);
        for (uint32_t j = 0; j < 8; ++j)
          if (nMajor)
            rows[first + j][i] = values[j];
          else
            rows[first + i % 8][i / 8 * 8 + j] = values[j];
      }
    return rows;
  }

private:
  /// Reads a piece: `along` the way that pieces go, at `line` across it.
  std::array<float, 8> read(uint32_t line, uint32_t along) const {
    Grid &grid = Grid::running();
    // Eight lines of as many pieces as the swizzle has lie together. From there
    // on, `leading` is the way of pieces, `stride` the one across; without a
    // swizzle these are the ways of columns and of rows.
    const bool exchanged = pieces == 1 && nMajor;
    uint64_t offset = start + line % 8 * pieces * 16 + along % pieces * 16 +
                      line / 8 * (exchanged ? leading : stride) +
                      along / pieces * (exchanged ? stride : leading);
    const uint64_t address = reinterpret_cast<uint64_t>(grid.shared()) + offset;
    offset ^= (address >> 7 & (pieces - 1)) << 4;
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

  bool nMajor;
  uint64_t start, leading, stride;
  uint32_t pieces = 1; ///< Of 16 bytes that the swizzle swaps.
};

} // namespace

/// Adds a b^T to sums: thread t has rows 16 (t / 32) + t % 32 / 4 and 8 more, of
/// each 8 columns 2 (t % 4) and the next. Each sum is rounded once, where the
/// ISA leaves order and rounding open.
static void multiply(llvm::ArrayRef<Row> a, const SharedMatrix &b,
                     llvm::ArrayRef<WarpgroupProducts::Sums> sums) {
  const auto columns = static_cast<uint32_t>(2 * sums[0]->size());
  for (auto [column, values] : llvm::enumerate(b.readRows(columns))) {
    const size_t place = column / 8 * 4 + column % 2;
    for (uint32_t row = 0; row < 64; ++row) {
      const size_t thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2;
      float &sum = (*sums[thread])[place + row % 16 / 8 * 2];
      double exact = sum;
      for (uint32_t k = 0; k < 16; ++k)
        exact += double(a[row][k]) * values[k];
      sum = static_cast<float>(exact);
    }
  }
}

namespace {

/// What a thread brings to a product, whose A lies in shared memory or in
/// registers.
struct InShared {
  uint64_t a, b;
  static constexpr const char *name = "wgmma of shared memory";
  static constexpr bool hasRegisters = false;
};
struct InRegisters {
  std::array<uint32_t, 4> a;
  uint64_t b;
  static constexpr const char *name = "wgmma of registers";
  static constexpr bool hasRegisters = true;
};

template <typename Operands>
using OfThreads = std::array<Operands, kThreads>;

} // namespace

static bool agree(const OfThreads<InShared> &all) {
  return llvm::all_of(all, [&](const InShared &one) {
    return one.a == all[0].a && one.b == all[0].b;
  });
}
static bool agree(const OfThreads<InRegisters> &all) {
  return llvm::all_of(
      all, [&](const InRegisters &one) { return one.b == all[0].b; });
}

static std::vector<Row> readLeft(const OfThreads<InShared> &all) {
  return SharedMatrix(all[0].a, /*nMajor=*/false).readRows(64);
}
static std::vector<Row> readLeft(const OfThreads<InRegisters> &all) {
  std::vector<Row> rows(64);
  for (uint32_t row = 0; row < 64; ++row)
    for (uint32_t k = 0; k < 16; ++k) {
      const uint32_t thread = row / 16 * 32 + row % 8 * 4 + k % 8 / 2;
      const uint32_t word = all[thread].a[row % 16 / 8 + k / 8 * 2];
      rows[row][k] =
          std::bit_cast<float>(k % 2 ? word & 0xffff0000 : word << 16);
    }
  return rows;
}

template <bool nMajor, bool fromZero, typename Operands>
static void startProduct(const Operands &operands, float *sums,
                         uint32_t count) {
  Grid &grid = Grid::running();
  const llvm::MutableArrayRef<float> registers(sums, count);
  if (fromZero)
    llvm::fill(registers, 0.0f);
  if (!grid.products().isFenced(grid.inWarpgroup()) &&
      (!WarpgroupProducts::areTokens(registers) || Operands::hasRegisters))
    grid.fail("multiplies registers with no wgmma.fence since they were "
              "written");
  struct {
    Operands operands;
    llvm::MutableArrayRef<float> registers;
  } own = {operands, registers};
  grid.meetWarpgroup(Operands::name, &own, [&](const Grid::Brought &brought) {
    OfThreads<Operands> all;
    OfThreads<llvm::MutableArrayRef<float>> allRegisters;
    for (uint32_t t = 0; t < kThreads; ++t) {
      auto *one = static_cast<decltype(own) *>(brought[t]);
      all[t] = one->operands;
      allRegisters[t] = one->registers;
    }
    if (!agree(all))
      grid.fail("has other matrix descriptors than its warpgroup");
    grid.products().start(
        [all](llvm::ArrayRef<WarpgroupProducts::Sums> sums) {
          multiply(readLeft(all), SharedMatrix(all[0].b, nMajor), sums);
        },
        allRegisters);
    // Early or late: operands must be there from the start to the wait.
    if (grid.draw() % 2)
      grid.products().formAll();
  });
}

template <bool nMajor, bool fromZero>
static void multiplyShared(float *sums, uint32_t count, uint64_t a,
                           uint64_t b) {
  startProduct<nMajor, fromZero>(InShared{a, b}, sums, count);
}

template <bool nMajor, bool fromZero>
static void multiplyRegisters(float *sums, uint32_t count, uint32_t a0,
                              uint32_t a1, uint32_t a2, uint32_t a3,
                              uint64_t b) {
  startProduct<nMajor, fromZero>(InRegisters{{a0, a1, a2, a3}, b}, sums, count);
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
static void finishProducts(float *sums, uint32_t count, uint32_t pending) {
  Grid &grid = Grid::running();
  grid.products().wait(grid.inWarpgroup(), pending);
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
      {"ptx.wgmma.mma_async.shared", address(multiplyShared<false, false>)},
      {"ptx.wgmma.mma_async.shared.from_zero",
       address(multiplyShared<false, true>)},
      {"ptx.wgmma.mma_async.shared.n_major",
       address(multiplyShared<true, false>)},
      {"ptx.wgmma.mma_async.shared.n_major.from_zero",
       address(multiplyShared<true, true>)},
      {"ptx.wgmma.mma_async.registers",
       address(multiplyRegisters<false, false>)},
      {"ptx.wgmma.mma_async.registers.from_zero",
       address(multiplyRegisters<false, true>)},
      {"ptx.wgmma.mma_async.registers.n_major",
       address(multiplyRegisters<true, false>)},
      {"ptx.wgmma.mma_async.registers.n_major.from_zero",
       address(multiplyRegisters<true, true>)},
  };
  return instructions;
}
