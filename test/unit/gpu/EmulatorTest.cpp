//===- EmulatorTest.cpp - What the emulator does and notices --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/gpu/EmulatorFixture.h"

#include "llvm/Support/FormatVariadic.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

namespace sputnik::testing {
namespace {

using EmulatorTest = EmulatorFixture;

TEST_F(EmulatorTest, ThreadsAndArguments) {
  EXPECT_EQ(run(threadPtr + R"(
  %v = mul i32 %t, %n
  store i32 %v, ptr %at
)"),
            "");
  for (uint32_t i = 0; i < 64; ++i)
    EXPECT_EQ(memory[i], 7 * i);
}

TEST_F(EmulatorTest, ShuffleTakesTheOtherLanesValue) {
  EXPECT_EQ(run(threadPtr + R"(
  %v = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %t, i32 5, i32 31)
  store i32 %v, ptr %at
)"),
            "");
  for (uint32_t i = 0; i < 64; ++i)
    EXPECT_EQ(memory[i], i ^ 5);
}

TEST_F(EmulatorTest, BytesArePermutedAndMultiplied) {
  EXPECT_EQ(run(threadPtr + R"(
  %p = call i32 @llvm.nvvm.prmt(i32 50462976, i32 -2072019320, i32 63040)
  %d = call i32 @llvm.nvvm.idp4a.s.s(i32 -16776961, i32 16909060, i32 100)
  %first = icmp eq i32 %t, 0
  %v = select i1 %first, i32 %p, i32 %d
  store i32 %v, ptr %at
)"),
            "");
  // Bytes 00 01 02 03 88 7e 7f 84; selectors 0, 4, 6 and 15: the sign of 84.
  EXPECT_EQ(memory[0], 0xff7f8800u);
  // -1 0 0 -1 times 4 3 2 1.
  EXPECT_EQ(memory[1], 100u - 4 - 1);
}

TEST_F(EmulatorTest, PowersOfTwoHaveNoSubnormalNumbers) {
  outside = "declare float @llvm.nvvm.ex2.approx.ftz.f32(float)\n";
  const float exponents[] = {3, -0.5f, -126, -126.5f, 1e-40f, -INFINITY};
  const float powers[] = {8, 0.70710678f, 0x1p-126f, 0, 1, 0};
  std::memcpy(memory.data(), exponents, sizeof(exponents));
  EXPECT_EQ(run(threadPtr + R"(
  %x = load float, ptr %at
  %v = call float @llvm.nvvm.ex2.approx.ftz.f32(float %x)
  store float %v, ptr %at
)"),
            "");
  for (auto [i, power] : llvm::enumerate(powers))
    EXPECT_FLOAT_EQ(std::bit_cast<float>(memory[i]), power);
}

const std::string writeShared = R"(
  %mine = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %t
  store i32 %t, ptr addrspace(3) %mine
  %o = sub i32 63, %t
  %other = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %o
)";

TEST_F(EmulatorTest, BarrierLetsOthersWritesBeSeen) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(run(threadPtr + writeShared + R"(
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %v = load i32, ptr addrspace(3) %other
  store i32 %v, ptr %at
)",
                  1, 64, seed),
              "");
    for (uint32_t i = 0; i < 64; ++i)
      EXPECT_EQ(memory[i], 63 - i);
  }
}

TEST_F(EmulatorTest, WithoutBarrierPoisonIsRead) {
  EXPECT_EQ(run(threadPtr + writeShared + R"(
  %v = load i32, ptr addrspace(3) %other
  store i32 %v, ptr %at
)"),
            "");
  EXPECT_NE(std::count(memory.begin(), memory.end(), 0xffffffffu), 0);
}

TEST_F(EmulatorTest, OrderFollowsFromTheSeed) {
  const std::string body = threadPtr + R"(
  %old = atomicrmw add ptr %out, i32 1 monotonic
  %slot = add i32 %t, 1
  %last = icmp eq i32 %t, 63
  %index = select i1 %last, i32 0, i32 %slot
  %to = getelementptr i32, ptr %out, i32 %index
  br i1 %last, label %end, label %write
write:
  store i32 %old, ptr %to
  br label %end
end:
)";
  EXPECT_EQ(run(body, 1, 64, 3), "");
  const std::vector<uint32_t> first = std::exchange(
      memory, std::vector<uint32_t>(64));
  EXPECT_EQ(run(body, 1, 64, 3), "");
  EXPECT_EQ(memory, first);
  memory.assign(64, 0);
  EXPECT_EQ(run(body, 1, 64, 4), "");
  EXPECT_NE(memory, first);
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

/// Thread t copies `bytes` of 16 of words 4t.. of the memory, waits for all
/// groups but `pending`, and stores word 4t + 3 of shared memory in word t.
std::string copyThroughShared(int bytes, int pending) {
  return llvm::formatv(R"(
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %word = mul i32 %t, 4
  %from = getelementptr i32, ptr %out, i32 %word
  %global = addrspacecast ptr %from to ptr addrspace(1)
  %to = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %word
  call void @llvm.nvvm.cp.async.cg.shared.global.16.s(ptr addrspace(3) %to, ptr addrspace(1) %global, i32 {0})
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.wait.group(i32 {1})
  %last = getelementptr i32, ptr addrspace(3) %to, i32 3
  %v = load i32, ptr addrspace(3) %last
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %at = getelementptr i32, ptr %out, i32 %t
  store i32 %v, ptr %at
)",
                       bytes, pending);
}

TEST_F(EmulatorTest, CopiesAreThereAfterTheirWait) {
  memory.resize(128);
  std::iota(memory.begin(), memory.end(), 0);
  EXPECT_EQ(run(copyThroughShared(16, 0), 1, 32), "");
  for (uint32_t i = 0; i < 32; ++i)
    EXPECT_EQ(memory[i], 4 * i + 3);
}

TEST_F(EmulatorTest, CopiesFillUpWithZeros) {
  memory.assign(128, 7);
  EXPECT_EQ(run(copyThroughShared(12, 0), 1, 32), "");
  EXPECT_EQ(std::count(memory.begin(), memory.begin() + 32, 0u), 32);
}

TEST_F(EmulatorTest, CopiesThatNobodyWaitedForArePoison) {
  memory.assign(128, 7);
  EXPECT_EQ(run(copyThroughShared(16, 1), 1, 32), "");
  EXPECT_EQ(std::count(memory.begin(), memory.begin() + 32, 0xffffffffu), 32);
}

//===----------------------------------------------------------------------===//
// Tensor cores
//===----------------------------------------------------------------------===//

/// Lane l stores four values from word 4l on.
std::string storeFour(const std::string &type) {
  std::string text;
  for (int i = 0; i < 4; ++i)
    text += llvm::formatv(R"(
  %v{0} = extractvalue {{{1}, {1}, {1}, {1}} %d, {0}
  %slot{0} = mul i32 %t, 4
  %index{0} = add i32 %slot{0}, {0}
  %at{0} = getelementptr i32, ptr %out, i32 %index{0}
  store {1} %v{0}, ptr %at{0}
)",
                          i, type);
  return text;
}

/// Four matrices of 64 halves lie one after the other in shared memory; half h
/// is h.
std::string loadMatrices(const std::string &variant) {
  std::string text = R"(
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
)";
  for (int i = 0; i < 4; ++i)
    text += llvm::formatv(R"(
  %w{0} = add i32 %t, {1}
  %even{0} = mul i32 %w{0}, 2
  %odd{0} = add i32 %even{0}, 1
  %high{0} = shl i32 %odd{0}, 16
  %both{0} = or i32 %even{0}, %high{0}
  %to{0} = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %w{0}
  store i32 %both{0}, ptr addrspace(3) %to{0}
)",
                          i, 32 * i);
  return text + R"(
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %first = mul i32 %t, 4
  %row = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %first
  %d = call {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4)" +
         variant + ".b16.p3(ptr addrspace(3) %row)\n" + storeFour("i32");
}

TEST_F(EmulatorTest, MatricesAreSpreadOverLanes) {
  for (bool transposed : {false, true}) {
    memory.assign(128, 0);
    ASSERT_EQ(run(loadMatrices(transposed ? ".trans" : ""), 1, 32), "");
    for (uint32_t lane = 0; lane < 32; ++lane)
      for (uint32_t matrix = 0; matrix < 4; ++matrix) {
        const uint32_t row = lane / 4, column = lane % 4 * 2;
        const uint32_t low = transposed ? column * 8 + row : row * 8 + column;
        const uint32_t high = low + (transposed ? 8 : 1);
        EXPECT_EQ(memory[4 * lane + matrix],
                  (64 * matrix + low) | (64 * matrix + high) << 16)
            << "lane " << lane << ", matrix " << matrix;
      }
  }
}

/// A lies as [16][8] words from word 0 on, B as [8 columns][8] from 128 on;
/// results take the place of A.
std::string multiplyMatrices(const std::string &instruction,
                             const std::string &type, const std::string &sum) {
  std::string text = R"(
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %group = udiv i32 %t, 4
  %place = urem i32 %t, 4
)";
  const auto load = [&](const char *name, int base, int row, int column) {
    text += llvm::formatv(R"(
  %{0}.row = add i32 %group, {1}
  %{0}.words = mul i32 %{0}.row, 8
  %{0}.column = add i32 %place, {2}
  %{0}.index = add i32 %{0}.words, %{0}.column
  %{0}.at = getelementptr i32, ptr %out, i32 %{0}.index
  %{0} = load i32, ptr %{0}.at
)",
                          name, row + base / 8, column);
  };
  load("a0", 0, 0, 0);
  load("a1", 0, 8, 0);
  load("a2", 0, 0, 4);
  load("a3", 0, 8, 4);
  load("b0", 128, 0, 0);
  load("b1", 128, 0, 4);
  text += llvm::formatv(
              R"(
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %d = call {{{0}, {0}, {0}, {0}} @llvm.nvvm.mma.{1}(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b0, i32 %b1, {0} {2}, {0} {2}, {0} {2}, {0} {2})
)",
              type, instruction, sum)
              .str() +
          storeFour(type);
  return text;
}

/// Row and column of a lane's sum i.
std::pair<uint32_t, uint32_t> placeOfSum(uint32_t lane, uint32_t i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}

TEST_F(EmulatorTest, MultipliesBFloat16) {
  const auto a = [](int row, int k) { return float(row - 3 * k + 5); };
  const auto b = [](int k, int column) { return float(2 * k - column); };
  const auto pair = [](float low, float high) {
    return std::bit_cast<uint32_t>(low) >> 16 |
           (std::bit_cast<uint32_t>(high) & 0xffff0000);
  };
  memory.resize(192);
  for (int word = 0; word < 8; ++word) {
    for (int row = 0; row < 16; ++row)
      memory[row * 8 + word] = pair(a(row, 2 * word), a(row, 2 * word + 1));
    for (int column = 0; column < 8; ++column)
      memory[128 + column * 8 + word] =
          pair(b(2 * word, column), b(2 * word + 1, column));
  }
  ASSERT_EQ(run(multiplyMatrices("m16n8k16.row.col.bf16", "float", "0.5"), 1,
                32),
            "");
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t i = 0; i < 4; ++i) {
      const auto [row, column] = placeOfSum(lane, i);
      float expected = 0.5;
      for (int k = 0; k < 16; ++k)
        expected += a(row, k) * b(k, column);
      EXPECT_EQ(std::bit_cast<float>(memory[4 * lane + i]), expected)
          << row << ", " << column;
    }
}

TEST_F(EmulatorTest, MultipliesBytes) {
  const auto a = [](int row, int k) { return 7 * row - 5 * k + 3; };
  const auto b = [](int k, int column) { return 3 * k - 11 * column; };
  const auto word = [](auto byte) {
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i)
      result |= uint32_t(uint8_t(byte(i))) << (8 * i);
    return result;
  };
  memory.resize(192);
  for (int w = 0; w < 8; ++w) {
    for (int row = 0; row < 16; ++row)
      memory[row * 8 + w] = word([&](int i) { return a(row, 4 * w + i); });
    for (int column = 0; column < 8; ++column)
      memory[128 + column * 8 + w] =
          word([&](int i) { return b(4 * w + i, column); });
  }
  ASSERT_EQ(run(multiplyMatrices("m16n8k32.row.col.s8", "i32", "-9"), 1, 32),
            "");
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t i = 0; i < 4; ++i) {
      const auto [row, column] = placeOfSum(lane, i);
      int expected = -9;
      for (int k = 0; k < 32; ++k)
        expected += int8_t(a(row, k)) * int8_t(b(k, column));
      EXPECT_EQ(int32_t(memory[4 * lane + i]), expected)
          << row << ", " << column;
    }
}

TEST_F(EmulatorTest, AccessOutsideBuffers) {
  EXPECT_EQ(run(threadPtr + R"(
  store i32 %t, ptr %at
)",
                1, 96)
                .find("k: block (0, 0) thread "),
            0u);
  const std::string message = run(threadPtr + R"(
  %over = getelementptr i8, ptr addrspace(3) @sputnik_shared, i32 1024
  %v = load i32, ptr addrspace(3) %over
  store i32 %v, ptr %at
)");
  EXPECT_NE(message.find("reads 4 bytes at byte 1024 of the 1024 bytes of "
                         "shared memory"),
            std::string::npos)
      << message;
}

TEST_F(EmulatorTest, UnalignedAccess) {
  const std::string message = run(R"(
  %at = getelementptr i8, ptr %out, i32 4
  %v = load <4 x i32>, ptr %at, align 16
  store <4 x i32> %v, ptr %out, align 16
)");
  EXPECT_NE(message.find("not aligned to 16"), std::string::npos) << message;
}

TEST_F(EmulatorTest, BarrierThatSomeNeverReach) {
  const std::string message = run(threadPtr + R"(
  %few = icmp slt i32 %t, 40
  br i1 %few, label %wait, label %end
wait:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  br label %end
end:
)");
  EXPECT_NE(message.find("barrier"), std::string::npos) << message;
}

TEST_F(EmulatorTest, ThreadsThatWaitForEachOtherInDifferentPlaces) {
  const std::string message = run(threadPtr + R"(
  %few = icmp slt i32 %t, 32
  br i1 %few, label %wait, label %shuffle
wait:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  br label %end
shuffle:
  %odd = and i32 %t, 1
  %isOdd = icmp eq i32 %odd, 1
  br i1 %isOdd, label %wait, label %meet
meet:
  %v = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %t, i32 2, i32 31)
  br label %end
end:
)");
  EXPECT_NE(message.find("deadlock: no thread can go on"), std::string::npos)
      << message;
}

TEST_F(EmulatorTest, LanesInDifferentOperations) {
  const std::string message = run(threadPtr + R"(
  %odd = and i32 %t, 1
  %isOdd = icmp eq i32 %odd, 1
  br i1 %isOdd, label %one, label %two
one:
  %v = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %t, i32 2, i32 31)
  br label %end
two:
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  br label %end
end:
)");
  EXPECT_NE(message.find("is in "), std::string::npos) << message;
}

TEST_F(EmulatorTest, UnknownIntrinsic) {
  outside = "declare float @llvm.nvvm.ex2.approx.f32(float)\n";
  EXPECT_EQ(run(R"(
  %v = call float @llvm.nvvm.ex2.approx.f32(float 1.0)
  store float %v, ptr %out
)"),
            "the emulator does not know llvm.nvvm.ex2.approx.f32");
}

TEST_F(EmulatorTest, EarlyStart) {
  early = true;
  EXPECT_EQ(run(threadPtr + R"(
  %near = addrspacecast ptr %out to ptr addrspace(1)
  call void @llvm.nvvm.cp.async.bulk.prefetch.L2(ptr addrspace(1) %near, i32 256, i64 0, i1 false)
  call void @sputnik.ptx.griddepcontrol.wait()
  store i32 %n, ptr %at
)"),
            "");
  EXPECT_EQ(memory, std::vector<uint32_t>(64, 7));
  EXPECT_EQ(run(threadPtr + R"(
  %v = load i32, ptr %at
  call void @sputnik.ptx.griddepcontrol.wait()
  store i32 %v, ptr %at
)",
                1, 32),
            "k: block (0, 0) thread 31: reads 4 bytes at byte 124 of out, a "
            "buffer with 256 bytes, not having waited for the launch before");
  EXPECT_EQ(run("", 1, 32), "k: block (0, 0) thread 31: ends without having "
                            "waited for the launch before");
  EXPECT_EQ(run(R"(
  %far = getelementptr i8, ptr %out, i32 16
  %near = addrspacecast ptr %far to ptr addrspace(1)
  call void @llvm.nvvm.cp.async.bulk.prefetch.L2(ptr addrspace(1) %near, i32 256, i64 0, i1 false)
  call void @sputnik.ptx.griddepcontrol.wait()
)",
                1, 32),
            "k: block (0, 0) thread 31: prefetches 256 bytes at byte 16 of "
            "out, a buffer with 256 bytes, not having waited for the launch "
            "before");
}

} // namespace
} // namespace sputnik::testing
