//===- WarpgroupEmulatorTest.cpp - What sm_90a has, in the emulator -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/gpu/EmulatorFixture.h"

#include "llvm/Support/FormatVariadic.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

namespace sputnik::testing {
namespace {

class WarpgroupEmulatorTest : public EmulatorFixture {
protected:
  WarpgroupEmulatorTest() {
    outside = R"(
declare void @llvm.nvvm.barrier.cta.sync.aligned.count(i32, i32)
declare void @sputnik.ptx.mbarrier.init(ptr addrspace(3), i32)
declare void @sputnik.ptx.mbarrier.arrive(ptr addrspace(3))
declare void @sputnik.ptx.mbarrier.arrive.expect_tx(ptr addrspace(3), i32)
declare void @sputnik.ptx.mbarrier.wait(ptr addrspace(3), i32)
declare void @sputnik.ptx.cp.async.bulk(ptr addrspace(3), ptr addrspace(1), i32, ptr addrspace(3))
declare void @sputnik.ptx.setmaxnreg.inc.232()
declare void @sputnik.ptx.wgmma.fence()
declare void @sputnik.ptx.wgmma.commit_group()
declare void @sputnik.ptx.wgmma.wait_group.1()
declare {float, float, float, float} @sputnik.ptx.wgmma.wait_group.sums.0.4(float, float, float, float)
declare {float, float, float, float} @sputnik.ptx.wgmma.mma_async.shared.4(float, float, float, float, i64, i64)
declare {float, float, float, float} @sputnik.ptx.wgmma.mma_async.registers.4(float, float, float, float, i32, i32, i32, i32, i64)
)";
  }
};

//===----------------------------------------------------------------------===//
// Barriers and copies
//===----------------------------------------------------------------------===//

/// Thread 0 makes a barrier for `arrivals` in word 240 of shared memory.
std::string initBarrier(int arrivals) {
  return threadPtr + llvm::formatv(R"(
  %barrier = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 240
  %first = icmp eq i32 %t, 0
  br i1 %first, label %init, label %ready
init:
  call void @sputnik.ptx.mbarrier.init(ptr addrspace(3) %barrier, i32 {0})
  br label %ready
ready:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
)",
                                   arrivals)
                         .str();
}

/// Thread 0 expects and starts a copy of the memory's first 256 bytes.
const std::string startCopy = R"(
  br i1 %first, label %copy, label %go
copy:
  %global = addrspacecast ptr %out to ptr addrspace(1)
  call void @sputnik.ptx.mbarrier.arrive.expect_tx(ptr addrspace(3) %barrier, i32 256)
  call void @sputnik.ptx.cp.async.bulk(ptr addrspace(3) @sputnik_shared, ptr addrspace(1) %global, i32 256, ptr addrspace(3) %barrier)
  br label %go
go:
)";
const std::string waitForPhase = R"(
  call void @sputnik.ptx.mbarrier.wait(ptr addrspace(3) %barrier, i32 0)
)";
/// Thread t reads what was copied to word 63 - t.
const std::string readCopied = R"(
  %o = sub i32 63, %t
  %other = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %o
  %v = load i32, ptr addrspace(3) %other
)";
const std::string storeValue = R"(
  store i32 %v, ptr %at
)";

TEST_F(WarpgroupEmulatorTest, CopiesAreThereWhenTheirPhaseIsOver) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::iota(memory.begin(), memory.end(), 0);
    EXPECT_EQ(run(initBarrier(1) + startCopy + waitForPhase + readCopied +
                      "call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 "
                      "0)" +
                      storeValue,
                  1, 64, seed),
              "");
    for (uint32_t i = 0; i < 64; ++i)
      EXPECT_EQ(memory[i], 63 - i);
  }
}

TEST_F(WarpgroupEmulatorTest, CopiesThatNobodyWaitedForArePoison) {
  bool poison = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    memory.assign(64, 7);
    EXPECT_EQ(run(initBarrier(1) + startCopy + readCopied + waitForPhase +
                      storeValue,
                  1, 64, seed),
              "");
    poison |= llvm::is_contained(memory, 0xffffffffu);
  }
  EXPECT_TRUE(poison);
}

TEST_F(WarpgroupEmulatorTest, CopyThatOutlivesItsBlock) {
  // With some seed it comes too late.
  std::string message;
  for (uint64_t seed = 0; message.empty() && seed < 1000; ++seed)
    message = run(initBarrier(1) + startCopy, 1, 32, seed);
  EXPECT_NE(message.find("a copy of 256 bytes to its shared memory was under "
                         "way"),
            std::string::npos)
      << message;
}

TEST_F(WarpgroupEmulatorTest, PhaseThatNeverEnds) {
  // One of two arrivals is missing.
  const std::string message =
      run(initBarrier(2) + startCopy + waitForPhase, 1, 64);
  EXPECT_NE(message.find("deadlock: no thread can go on"), std::string::npos)
      << message;
  EXPECT_NE(message.find("waits in mbarrier.try_wait"), std::string::npos)
      << message;
}

TEST_F(WarpgroupEmulatorTest, PhasesHaveParitiesInTurn) {
  // Each thread arrives, waits for parity 0, arrives, waits for parity 1; one
  // that asked for parity 1 at first would not wait.
  const std::string arrive = R"(
  call void @sputnik.ptx.mbarrier.arrive(ptr addrspace(3) %barrier)
)";
  EXPECT_EQ(run(initBarrier(64) + R"(
  call void @sputnik.ptx.mbarrier.wait(ptr addrspace(3) %barrier, i32 1)
)" + arrive + waitForPhase +
                    arrive + R"(
  call void @sputnik.ptx.mbarrier.wait(ptr addrspace(3) %barrier, i32 1)
)",
                1, 64),
            "");
}

TEST_F(WarpgroupEmulatorTest, ArrivalWithNoBarrier) {
  const std::string message = run(threadPtr + R"(
  call void @sputnik.ptx.mbarrier.arrive(ptr addrspace(3) @sputnik_shared)
)");
  EXPECT_NE(message.find("uses byte 0 of shared memory as a barrier"),
            std::string::npos)
      << message;
}

TEST_F(WarpgroupEmulatorTest, NamedBarriersAreForSomeThreads) {
  EXPECT_EQ(run(threadPtr + R"(
  %few = icmp slt i32 %t, 32
  br i1 %few, label %end, label %wait
wait:
  %mine = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %t
  store i32 %t, ptr addrspace(3) %mine
  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 3, i32 64)
  %o = sub i32 127, %t
  %other = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %o
  %v = load i32, ptr addrspace(3) %other
  %index = sub i32 %t, 32
  %to = getelementptr i32, ptr %out, i32 %index
  store i32 %v, ptr %to
  br label %end
end:
)",
                1, 96),
            "");
  for (uint32_t i = 0; i < 64; ++i)
    EXPECT_EQ(memory[i], 95 - i);
}

TEST_F(WarpgroupEmulatorTest, PartOfAWarpgroup) {
  const std::string message = run(R"(
  call void @sputnik.ptx.setmaxnreg.inc.232()
)",
                                  1, 64);
  EXPECT_NE(message.find("no whole warpgroups"), std::string::npos) << message;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// A (64 x 16) at byte 0 of shared memory, B (16 x 8) at byte 8192.
constexpr uint32_t beginB = 8192;

float valueA(uint32_t row, uint32_t k) { return float(row % 13) - float(k); }
float valueB(uint32_t k, uint32_t column) { return float(2 * k) - float(column); }
float product(uint32_t row, uint32_t column) {
  float sum = 0.5;
  for (uint32_t k = 0; k < 16; ++k)
    sum += valueA(row, k) * valueB(k, column);
  return sum;
}

class ProductTest : public WarpgroupEmulatorTest {
protected:
  ProductTest() { sharedBytes = beginB + 1024; }

  /// Where value k of a row lies: groups of 8 rows of 16-byte pieces, or rows of
  /// 128 bytes whose pieces are swapped.
  static uint32_t place(uint32_t row, uint32_t k, bool swizzled) {
    const uint32_t piece = k / 8;
    return swizzled ? row * 128 + ((piece ^ row % 8) * 16) + k % 8 * 2
                    : row / 8 * 256 + piece * 128 + row % 8 * 16 + k % 8 * 2;
  }

  /// What shared memory is to hold, as words of `memory` behind the results.
  void prepare(bool swizzled) {
    std::vector<uint16_t> halves(sharedBytes / 2);
    const auto bits = [](float value) {
      return uint16_t(std::bit_cast<uint32_t>(value) >> 16);
    };
    for (uint32_t k = 0; k < 16; ++k) {
      for (uint32_t row = 0; row < 64; ++row)
        halves[place(row, k, swizzled) / 2] = bits(valueA(row, k));
      for (uint32_t column = 0; column < 8; ++column)
        halves[(beginB + place(column, k, swizzled)) / 2] =
            bits(valueB(k, column));
    }
    memory.assign(512 + sharedBytes / 4, 0);
    std::memcpy(memory.data() + 512, halves.data(), sharedBytes);
  }

  /// Each thread of 128 fills its part of shared memory; %a and %b describe
  /// the operands.
  std::string fill(bool swizzled) const {
    std::string text = threadPtr;
    for (uint32_t i = 0; i < sharedBytes / 4 / 128; ++i)
      text += llvm::formatv(R"(
  %w{0} = add i32 %t, {1}
  %i{0} = add i32 %w{0}, 512
  %f{0} = getelementptr i32, ptr %out, i32 %i{0}
  %x{0} = load i32, ptr %f{0}
  %s{0} = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %w{0}
  store i32 %x{0}, ptr addrspace(3) %s{0}
)",
                            i, i * 128);
    const uint64_t layout =
        swizzled ? uint64_t(1) << 62 | uint64_t(1024 / 16) << 32 | 1 << 16
                 : uint64_t(256 / 16) << 32 | (128 / 16) << 16;
    return text + llvm::formatv(R"(
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %base = ptrtoint ptr addrspace(3) @sputnik_shared to i64
  %low = and i64 %base, 262143
  %units = lshr i64 %low, 4
  %a = or i64 %units, {0}
  %b = add i64 %a, {1}
)",
                                layout, beginB / 16)
                      .str();
  }

  /// The sums %{name}.. as {name}0..3.
  static std::string unpack(const std::string &name) {
    std::string text;
    for (int i = 0; i < 4; ++i)
      text += llvm::formatv("  %{0}{1} = extractvalue {{float, float, float, "
                            "float} %{0}, {1}\n",
                            name, i);
    return text;
  }
  static std::string store(const std::string &name) {
    std::string text = unpack(name) + "  %slot = mul i32 %t, 4\n";
    for (int i = 0; i < 4; ++i)
      text += llvm::formatv(R"(
  %index{0} = add i32 %slot, {0}
  %at{0} = getelementptr i32, ptr %out, i32 %index{0}
  store float %{1}{0}, ptr %at{0}
)",
                            i, name);
    return text;
  }
  void expectProducts(float factor = 1) {
    for (uint32_t t = 0; t < 128; ++t)
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t row = t / 32 * 16 + t % 32 / 4 + i / 2 * 8;
        const uint32_t column = t % 4 * 2 + i % 2;
        EXPECT_EQ(std::bit_cast<float>(memory[4 * t + i]),
                  factor * (product(row, column) - 0.5f) + 0.5f)
            << row << ", " << column;
      }
  }

  static constexpr const char *fence =
      "  call void @sputnik.ptx.wgmma.fence()\n";
  static constexpr const char *start =
      "  %d = call {float, float, float, float} "
      "@sputnik.ptx.wgmma.mma_async.shared.4(float 0.5, float 0.5, float 0.5, "
      "float 0.5, i64 %a, i64 %b)\n";
  static constexpr const char *commit =
      "  call void @sputnik.ptx.wgmma.commit_group()\n";
  /// %result = the sums of %{name}.
  static std::string finish(const std::string &name) {
    return unpack(name) +
           llvm::formatv("  %result = call {{float, float, float, float} "
                         "@sputnik.ptx.wgmma.wait_group.sums.0.4(float %{0}0, "
                         "float %{0}1, float %{0}2, float %{0}3)\n",
                         name)
               .str();
  }
};

TEST_F(ProductTest, OperandsLieAsTheirDescriptorsSay) {
  for (bool swizzled : {false, true})
    for (uint64_t seed = 0; seed < 4; ++seed) {
      prepare(swizzled);
      ASSERT_EQ(run(fill(swizzled) + fence + start + commit + finish("d") +
                        store("result"),
                    1, 128, seed),
                "");
      expectProducts();
    }
}

TEST_F(ProductTest, ProductsAddToSumsUnderWay) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    prepare(true);
    ASSERT_EQ(run(fill(true) + fence + start + unpack("d") +
                      "  %e = call {float, float, float, float} "
                      "@sputnik.ptx.wgmma.mma_async.shared.4(float %d0, float "
                      "%d1, float %d2, float %d3, i64 %a, i64 %b)\n" +
                      commit + finish("e") + store("result"),
                  1, 128, seed),
              "");
    expectProducts(2);
  }
}

TEST_F(ProductTest, LeftOperandInRegisters) {
  prepare(true);
  // Register r of a thread: row t / 4 of its warp and 8 more if r is odd,
  // columns 2 (t % 4) and 8 more if r > 1.
  std::string registers;
  for (int r = 0; r < 4; ++r)
    registers += llvm::formatv(R"(
  %row{0} = add i32 %rowFirst, {1}
  %piece{0} = and i32 %row{0}, 7
  %swapped{0} = xor i32 %piece{0}, {2}
  %pieceBytes{0} = mul i32 %swapped{0}, 16
  %rowBytes{0} = mul i32 %row{0}, 128
  %o{0} = add i32 %rowBytes{0}, %pieceBytes{0}
  %p{0} = add i32 %o{0}, %inPiece
  %q{0} = getelementptr i8, ptr addrspace(3) @sputnik_shared, i32 %p{0}
  %r{0} = load i32, ptr addrspace(3) %q{0}
)",
                               r, r % 2 * 8, r / 2);
  ASSERT_EQ(run(fill(true) + R"(
  %warp = udiv i32 %t, 32
  %warpRow = mul i32 %warp, 16
  %lane = urem i32 %t, 32
  %laneRow = udiv i32 %lane, 4
  %rowFirst = add i32 %warpRow, %laneRow
  %laneColumn = urem i32 %lane, 4
  %inPiece = mul i32 %laneColumn, 4
)" + registers + fence +
                    "  %d = call {float, float, float, float} "
                    "@sputnik.ptx.wgmma.mma_async.registers.4(float 0.5, float "
                    "0.5, float 0.5, float 0.5, i32 %r0, i32 %r1, i32 %r2, i32 "
                    "%r3, i64 %b)\n" +
                    commit + finish("d") + store("result"),
                1, 128),
            "");
  expectProducts();
}

TEST_F(ProductTest, SumsThatNobodyWaitedForAreNaN) {
  prepare(true);
  ASSERT_EQ(run(fill(true) + fence + start + commit +
                    "  call void @sputnik.ptx.wgmma.wait_group.1()\n" +
                    store("d") +
                    "  %e = call {float, float, float, float} "
                    "@sputnik.ptx.wgmma.wait_group.sums.0.4(float %d0, float %d1, "
                    "float %d2, float %d3)\n",
                1, 128),
            "");
  for (uint32_t i = 0; i < 512; ++i)
    EXPECT_TRUE(std::isnan(std::bit_cast<float>(memory[i])));
}

TEST_F(ProductTest, ProductThatNobodyWaitsFor) {
  prepare(true);
  const std::string message = run(fill(true) + fence + start + commit, 1, 128);
  EXPECT_NE(message.find("ended while products were under way"),
            std::string::npos)
      << message;
}

TEST_F(ProductTest, RegistersWithNoFence) {
  prepare(true);
  const std::string message =
      run(fill(true) + start + commit + finish("d"), 1, 128);
  EXPECT_NE(message.find("no wgmma.fence"), std::string::npos) << message;
}

TEST_F(ProductTest, OperandsThatChangeTooEarly) {
  bool wrong = false;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    prepare(true);
    ASSERT_EQ(run(fill(true) + fence + start + commit + R"(
  %mine = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %t
  store i32 -1, ptr addrspace(3) %mine
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
)" + finish("d") + store("result"),
                  1, 128, seed),
              "");
    for (uint32_t i = 0; i < 512; ++i)
      wrong |= std::isnan(std::bit_cast<float>(memory[i]));
  }
  EXPECT_TRUE(wrong);
}

TEST_F(ProductTest, DescriptorBeyondSharedMemory) {
  prepare(true);
  const std::string message = run(fill(true) + "  %far = add i64 %a, 1024\n" +
                                      fence + R"(
  %d = call {float, float, float, float} @sputnik.ptx.wgmma.mma_async.shared.4(float 0.5, float 0.5, float 0.5, float 0.5, i64 %far, i64 %b)
)" + commit + finish("d"),
                                  1, 128);
  EXPECT_NE(message.find("bytes of shared memory"), std::string::npos)
      << message;
}

} // namespace
} // namespace sputnik::testing
