//===- ProbesTest.cpp - Kernels that measure or fill ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "benchmarks/GraphText.h"
#include "benchmarks/LoadedGraph.h"
#include "codegen/gpu/Chip.h"
#include "codegen/gpu/KernelCode.h"
#include "codegen/gpu/emulator/Emulator.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

using namespace mlir;

namespace sputnik::testing {
namespace {

class ProbesTest : public ::testing::Test {
protected:
  ProbesTest() {
    context.loadDialect<r1::R1Dialect, func::FuncDialect>();
    // A model with no phases has no other kernels.
    OwningOpRef<ModuleOp> module =
        ModuleOp::create(UnknownLoc::get(&context));
    auto llvmContext = std::make_unique<llvm::LLVMContext>();
    auto code = gpu::makeKernelCode(
        *module, *gpu::getTarget("sm_90a", context), *llvmContext);
    EXPECT_TRUE(succeeded(code));
    auto created =
        gpu::Emulator::create(std::move(code->module), std::move(llvmContext));
    EXPECT_TRUE(static_cast<bool>(created)) << toString(created.takeError());
    emulator = std::move(*created);
  }

  /// Gives the error, "" for none.
  std::string launch(const char *kernel, uint32_t blocks,
                     llvm::ArrayRef<void *> arguments) {
    return toString(emulator->launch(
        kernel, {blocks, 1, abi::kProbeThreads, 0}, arguments));
  }

  MLIRContext context;
  std::unique_ptr<gpu::Emulator> emulator;
};

TEST_F(ProbesTest, WeightsAreThoseOfTheHost) {
  GraphText graph;
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(
      graph.finish(graph.selectOutputs(graph.embed("embed", 32, 32))),
      &context);
  ASSERT_TRUE(module);
  auto host = LoadedGraph::create(*module, {});
  ASSERT_TRUE(static_cast<bool>(host)) << toString(host.takeError());

  // Two blocks and a part of one, with nothing written behind.
  uint64_t bytes = 2 * abi::kFillBytes + 64, seed = 5;
  std::vector<uint64_t> expected(bytes / 8), found(bytes / 8 + 8);
  host->model().fillRandom(reinterpret_cast<uint8_t *>(expected.data()), 0,
                           bytes, seed);
  void *weights = found.data();
  emulator->addBuffer("weights", weights, bytes, true);
  EXPECT_EQ(launch(abi::kFillKernel, 3, {&weights, &bytes, &seed}), "");
  EXPECT_EQ(std::memcmp(found.data(), expected.data(), bytes), 0);
  EXPECT_EQ(found[bytes / 8], 0u);
}

/// A pattern for every scheme: read as any of them it is a sane number.
TEST_F(ProbesTest, WeightsAreNumbersInEveryScheme) {
  uint64_t bytes = abi::kFillBytes, seed = 0;
  std::vector<uint32_t> words(bytes / 4);
  void *weights = words.data();
  emulator->addBuffer("weights", weights, bytes, true);
  ASSERT_EQ(launch(abi::kFillKernel, 1, {&weights, &bytes, &seed}), "");
  for (uint32_t word : words) {
    for (uint32_t half : {word << 16, word & 0xffff0000u, word}) {
      float value;
      std::memcpy(&value, &half, sizeof(value));
      EXPECT_GE(std::abs(value), 0x1p-6f);
      EXPECT_LT(std::abs(value), 0x1p-5f);
    }
    for (uint32_t shift = 0; shift < 32; shift += 8)
      EXPECT_NE((word >> shift) & 0x7f, 0x7fu) << "no number in E4M3";
  }
}

TEST_F(ProbesTest, ReadsTheBytesOfItsBlocks) {
  uint64_t bytes = 2 * abi::kReadBytes;
  std::vector<uint8_t> memory(3 * bytes + 16);
  void *data = reinterpret_cast<void *>(
      (reinterpret_cast<uintptr_t>(memory.data()) + 15) / 16 * 16);
  uint32_t kept = 7;
  void *result = &kept;
  emulator->addBuffer("data", data, 3 * bytes, false);
  emulator->addBuffer("kept", result, sizeof(kept), true);
  EXPECT_EQ(launch(abi::kReadKernel, 3, {&data, &bytes, &result}), "");
  EXPECT_EQ(kept, 7u);
  EXPECT_NE(launch(abi::kReadKernel, 4, {&data, &bytes, &result}), "");
}

TEST_F(ProbesTest, MultipliesOnTheTensorCores) {
  uint64_t iterations = 3;
  float kept = 7;
  void *result = &kept;
  emulator->addBuffer("kept", result, sizeof(kept), true);
  EXPECT_EQ(launch(abi::kDotKernel, 2, {&iterations, &result}), "");
  EXPECT_EQ(kept, 7);
}

} // namespace
} // namespace sputnik::testing
