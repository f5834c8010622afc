//===- EmulatorTest.cpp - What the emulator does and notices --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/gpu/emulator/Emulator.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>

namespace sputnik::testing {
namespace {

const char *declarations = R"(
@sputnik_shared = external addrspace(3) global [0 x i8], align 16
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.bar.warp.sync(i32)
declare i32 @llvm.nvvm.shfl.sync.bfly.i32(i32, i32, i32, i32)
declare i32 @llvm.nvvm.idp4a.s.s(i32, i32, i32)
declare i32 @llvm.nvvm.prmt(i32, i32, i32)
)";

/// A kernel void @k(ptr %out, i32 %n) with some words of memory.
class EmulatorTest : public ::testing::Test {
protected:
  /// Gives the error of creating the emulator or of the launch; "" for none.
  std::string run(const std::string &body, uint32_t blocks = 1,
                  uint32_t threads = 64, uint64_t seed = 0) {
    auto context = std::make_unique<llvm::LLVMContext>();
    llvm::SMDiagnostic diagnostic;
    auto module = llvm::parseAssemblyString(
        declarations + outside +
            ("define ptx_kernel void @k(ptr %out, i32 %n) {\n" + body +
             "\n  ret void\n}\n"),
        diagnostic, *context);
    EXPECT_TRUE(module) << diagnostic.getMessage().str();
    auto emulator =
        gpu::Emulator::create(std::move(module), std::move(context));
    if (!emulator)
      return toString(emulator.takeError());
    (*emulator)->setSeed(seed);
    (*emulator)->addBuffer("out", memory.data(), 4 * memory.size(), true);
    void *out = memory.data();
    int32_t n = 7;
    llvm::Error error = (*emulator)->launch(
        "k", {blocks, 1, threads, 1024}, {&out, &n});
    return toString(std::move(error));
  }

  std::string outside; ///< Further declarations.
  std::vector<uint32_t> memory = std::vector<uint32_t>(64);
};

const std::string threadPtr = R"(
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %at = getelementptr i32, ptr %out, i32 %t
)";

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

} // namespace
} // namespace sputnik::testing
