//===- ProductLayoutTest.cpp - Operands of wgmma in the emulator ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products of one warpgroup whose operands lie in every way that a descriptor
// can say, against float64.
//
//===----------------------------------------------------------------------===//
#include "test/unit/gpu/EmulatorFixture.h"

#include "llvm/Support/FormatVariadic.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

namespace sputnik::testing {
namespace {

/// How a matrix of rows by 16 columns lies: what descriptors say of it.
struct Layout {
  uint32_t swizzle;
  bool nMajor;
  uint32_t stride, leading;

  /// Where value k of a row lies, by the PTX ISA.
  uint32_t place(uint32_t row, uint32_t k) const {
    if (!swizzle)
      return nMajor ? row / 8 * stride + k / 8 * leading + k % 8 * 16 +
                          row % 8 * 2
                    : row / 8 * stride + k / 8 * leading + row % 8 * 16 +
                          k % 8 * 2;
    const uint32_t together = swizzle / 2; // Rows, N-major.
    const uint32_t offset =
        nMajor ? row / together * leading + k / 8 * stride + k % 8 * swizzle +
                     row % together * 2
               : row / 8 * stride + row % 8 * swizzle + k * 2;
    return offset ^ (offset / 128 % (swizzle / 16)) * 16;
  }
  uint64_t descriptor() const {
    const uint64_t mode = swizzle == 128 ? 1 : swizzle == 64 ? 2
                          : swizzle == 32 ? 3
                                          : 0;
    return mode << 62 | uint64_t(stride / 16) << 32 | uint64_t(leading / 16)
                                                          << 16;
  }
};

const Layout layouts[] = {
    // Some with space between what they say the distance of.
    {0, false, 256, 128},    {0, false, 144, 2304},  {32, false, 256, 16},
    {64, false, 1024, 16},   {128, false, 1024, 16}, {0, true, 272, 128},
    {0, true, 128, 4096},    {32, true, 256, 512},   {32, true, 256, 1536},
    {64, true, 512, 1024},   {64, true, 2048, 512},  {128, true, 1024, 2048},
    {128, true, 4096, 1024},
};

class ProductLayoutTest : public EmulatorFixture {
protected:
  static constexpr uint32_t kColumns = 128, kSums = kColumns / 2;
  /// B at byte 16384; behind the results, memory holds what shared memory is to
  /// hold and the fragments of A.
  static constexpr uint32_t kBeginB = 16384, kSharedWords = 9216;
  static constexpr uint32_t kShared = 128 * kSums;
  static constexpr uint32_t kFragments = kShared + kSharedWords;

  ProductLayoutTest() { sharedBytes = 4 * kSharedWords; }

  static std::string list(const char *format) {
    std::string text;
    for (uint32_t i = 0; i < kSums; ++i)
      text += (i ? ", " : "") + llvm::formatv(format, i).str();
    return text;
  }
  std::string floats = list("float");
  std::string type = "{" + floats + "}";

  float random() {
    const float value =
        std::uniform_real_distribution<float>(-2, 2)(generator);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffff0000);
  }

  /// Makes operands and puts them into `memory`.
  void prepare(const Layout &layoutA, const Layout &layoutB) {
    memory.assign(kFragments + 512, 0);
    auto *shared = reinterpret_cast<uint16_t *>(memory.data() + kShared);
    std::memset(shared, 0xff, sharedBytes);
    const auto put = [](uint16_t *to, float value) {
      *to = uint16_t(std::bit_cast<uint32_t>(value) >> 16);
    };
    a.assign(64, {});
    b.assign(kColumns, {});
    for (uint32_t k = 0; k < 16; ++k) {
      for (uint32_t row = 0; row < 64; ++row) {
        a[row][k] = random();
        put(shared + layoutA.place(row, k) / 2, a[row][k]);
        // Register r of a thread: row lane / 4 and 8 more if r is odd, columns
        // 2 (lane % 4) and 8 more if r > 1.
        const uint32_t thread = row / 16 * 32 + row % 8 * 4 + k % 8 / 2;
        const uint32_t r = row % 16 / 8 + k / 8 * 2;
        put(reinterpret_cast<uint16_t *>(memory.data() + kFragments +
                                         4 * thread + r) +
                k % 2,
            a[row][k]);
      }
      for (uint32_t column = 0; column < kColumns; ++column) {
        b[column][k] = random();
        put(shared + (kBeginB + layoutB.place(column, k)) / 2, b[column][k]);
      }
    }
  }

  /// Fills shared memory and loads fragments; `how` starts the product on `sum`s.
  std::string kernel(const std::string &how, const std::string &operands,
                     const std::string &sum, const Layout &layoutA,
                     const Layout &layoutB) {
    const std::string fences = "  call void @sputnik.ptx.wgmma.fence()\n";
    outside = llvm::formatv(R"(
declare void @sputnik.ptx.wgmma.fence()
declare void @sputnik.ptx.wgmma.commit_group()
declare {0} @sputnik.ptx.wgmma.wait_group.sums.0.{1}({2})
declare {0} @sputnik.ptx.wgmma.mma_async.{3}.{1}({2}, {4})
)",
                            type, kSums, floats, how,
                            operands == "shared" ? "i64, i64"
                                                 : "i32, i32, i32, i32, i64");
    std::string text = threadPtr + llvm::formatv(R"(
  br label %fill
fill:
  %w = phi i32 [%t, %0], [%next, %fill]
  %i = add i32 %w, {0}
  %f = getelementptr i32, ptr %out, i32 %i
  %x = load i32, ptr %f
  %s = getelementptr i32, ptr addrspace(3) @sputnik_shared, i32 %w
  store i32 %x, ptr addrspace(3) %s
  %next = add i32 %w, 128
  %more = icmp slt i32 %next, {1}
  br i1 %more, label %fill, label %filled
filled:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %base = ptrtoint ptr addrspace(3) @sputnik_shared to i64
  %low = and i64 %base, 262143
  %units = lshr i64 %low, 4
  %a = or i64 %units, {2}
  %beginB = add i64 %units, {3}
  %b = or i64 %beginB, {4}
  %four = mul i32 %t, 4
)",
                                                 kShared, kSharedWords,
                                                 layoutA.descriptor(),
                                                 kBeginB / 16,
                                                 layoutB.descriptor())
                                       .str();
    for (int r = 0; r < 4; ++r)
      text += llvm::formatv(R"(
  %i{0} = add i32 %four, {1}
  %f{0} = getelementptr i32, ptr %out, i32 %i{0}
  %r{0} = load i32, ptr %f{0}
)",
                            r, kFragments + r);
    text += fences +
            llvm::formatv(R"(
  %d = call {0} @sputnik.ptx.wgmma.mma_async.{1}.{2}({3}, {4})
  call void @sputnik.ptx.wgmma.commit_group()
)",
                          type, how, kSums, list(sum.c_str()),
                          operands == "shared"
                              ? "i64 %a, i64 %b"
                              : "i32 %r0, i32 %r1, i32 %r2, i32 %r3, i64 %b")
                .str();
    for (uint32_t i = 0; i < kSums; ++i)
      text += llvm::formatv("  %d{1} = extractvalue {0} %d, {1}\n", type, i);
    text += llvm::formatv("  %e = call {0} "
                          "@sputnik.ptx.wgmma.wait_group.sums.0.{1}({2})\n"
                          "  %slot = mul i32 %t, {1}\n",
                          type, kSums, list("float %d{0}"));
    for (uint32_t i = 0; i < kSums; ++i)
      text += llvm::formatv(R"(
  %e{1} = extractvalue {0} %e, {1}
  %o{1} = add i32 %slot, {1}
  %p{1} = getelementptr i32, ptr %out, i32 %o{1}
  store float %e{1}, ptr %p{1}
)",
                            type, i);
    return text;
  }

  void expectProducts(double first) {
    for (uint32_t t = 0; t < 128; ++t)
      for (uint32_t i = 0; i < kSums; ++i) {
        const uint32_t row = t / 32 * 16 + t % 32 / 4 + i % 4 / 2 * 8;
        const uint32_t column = i / 4 * 8 + t % 4 * 2 + i % 2;
        double sum = first;
        for (uint32_t k = 0; k < 16; ++k)
          sum += double(a[row][k]) * b[column][k];
        ASSERT_EQ(std::bit_cast<float>(memory[kSums * t + i]), float(sum))
            << row << ", " << column;
      }
  }

  std::mt19937 generator;
  std::vector<std::array<float, 16>> a, b;
};

std::string name(const Layout &layout) {
  return llvm::formatv("swizzle {0}, {1}-major, {2}, {3}", layout.swizzle,
                       layout.nMajor ? "N" : "K", layout.stride,
                       layout.leading);
}

TEST_F(ProductLayoutTest, InSharedMemory) {
  for (const Layout &layoutA : layouts)
    for (const Layout &layoutB : layouts) {
      if (layoutA.nMajor)
        continue;
      SCOPED_TRACE(name(layoutA) + "; " + name(layoutB));
      prepare(layoutA, layoutB);
      ASSERT_EQ(run(kernel(layoutB.nMajor ? "shared.n_major" : "shared",
                           "shared", "float 0.5", layoutA, layoutB),
                    1, 128, generator()),
                "");
      expectProducts(0.5);
    }
}

TEST_F(ProductLayoutTest, LeftInRegisters) {
  for (const Layout &layout : layouts) {
    SCOPED_TRACE(name(layout));
    prepare(layouts[0], layout);
    ASSERT_EQ(run(kernel(layout.nMajor ? "registers.n_major" : "registers",
                         "registers", "float 0.5", layouts[0], layout),
                  1, 128, generator()),
              "");
    expectProducts(0.5);
  }
}

TEST_F(ProductLayoutTest, SumsThatStartAtZero) {
  // What their registers held does not count.
  for (bool nMajor : {false, true})
    for (std::string operands : {"shared", "registers"}) {
      const Layout layout = nMajor ? Layout{128, true, 1024, 2048} : layouts[4];
      prepare(layouts[0], layout);
      ASSERT_EQ(run(kernel(operands + (nMajor ? ".n_major" : "") + ".from_zero",
                           operands, "float 0x7FF8000000000000", layouts[0],
                           layout),
                    1, 128, generator()),
                "");
      expectProducts(0);
    }
}

TEST_F(ProductLayoutTest, AnotherSwizzleGivesOtherProducts) {
  for (bool nMajor : {false, true})
    for (const Layout &layout : layouts) {
      if (layout.nMajor != nMajor || !layout.swizzle)
        continue;
      prepare(layouts[0], layout);
      Layout other = layout;
      other.swizzle = layout.swizzle == 32 ? 64 : layout.swizzle / 2;
      ASSERT_EQ(run(kernel(nMajor ? "shared.n_major" : "shared", "shared",
                           "float 0.5", layouts[0], other),
                    1, 128),
                "");
      bool same = true;
      for (uint32_t i = 0; i < 4; ++i) {
        double sum = 0.5;
        for (uint32_t k = 0; k < 16; ++k)
          sum += double(a[i / 2 * 8][k]) * b[i % 2][k];
        same &= std::bit_cast<float>(memory[4 + i]) == float(sum);
      }
      EXPECT_FALSE(same) << name(layout);
    }
}

TEST_F(ProductLayoutTest, RightOperandBeyondSharedMemory) {
  prepare(layouts[0], layouts[0]);
  const std::string message =
      run(kernel("shared.n_major", "shared", "float 0.5", layouts[0],
                 {32, true, 256, 8192}),
          1, 128);
  EXPECT_NE(message.find("bytes of shared memory"), std::string::npos)
      << message;
}

TEST_F(ProductLayoutTest, FragmentsWithNoFence) {
  // Sums that are under way need none, fragments do.
  prepare(layouts[0], layouts[0]);
  std::string text = kernel("registers", "registers", "float 0.5", layouts[0],
                            layouts[0]);
  const std::string fence = "  call void @sputnik.ptx.wgmma.fence()\n";
  text.erase(text.rfind(fence), fence.size());
  const std::string message = run(text, 1, 128);
  EXPECT_NE(message.find("no wgmma.fence"), std::string::npos) << message;
}

} // namespace
} // namespace sputnik::testing
