//===- SamplingTest.cpp - Sampling on a GPU and on a CPU ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/gpu/Chip.h"
#include "codegen/gpu/Kernel.h"
#include "codegen/gpu/KernelCode.h"
#include "codegen/gpu/emulator/Emulator.h"
#include "runtime/Abi.h"
#include "runtime/Sampler.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace sputnik::testing {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// The kernels that sample, with memory of their own.
class DeviceSampler {
public:
  explicit DeviceSampler(int64_t vocabulary) {
    mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    context.loadDialect<r1::R1Dialect>();
    r1::TargetAttr target = llvm::cantFail(gpu::getTarget("sm_90a", context));
    auto llvmContext = std::make_unique<llvm::LLVMContext>();
    auto code = gpu::makeSamplingCode(vocabulary, target, *llvmContext);
    EXPECT_TRUE(mlir::succeeded(code));
    launches = std::move(code->sample);
    arena.assign(static_cast<size_t>(code->arenaBytes), 0);
    emulator = llvm::cantFail(
        gpu::Emulator::create(std::move(code->module), std::move(llvmContext)));
    emulator->setSeed(17);
    logits.resize(static_cast<size_t>(vocabulary));
    const std::tuple<const char *, void *, uint64_t, bool> buffers[] = {
        {"tokens", &token, sizeof(token), true},
        {"positions", &position, sizeof(position), true},
        {"logits", logits.data(), 4 * logits.size(), false},
        {"arena", arena.data(), arena.size(), true},
        {"sampling", &state, sizeof(state), true},
        {"ring", ring.data(), sizeof(ring), true}};
    for (auto [name, data, bytes, writable] : buffers)
      emulator->addBuffer(name, data, bytes, writable);
  }

  void begin(const rt::SamplingOptions &options, int64_t idCount) {
    state = {options.temperature, options.topP, options.topK, idCount,
             options.seed,        0,            ring.data(),  ring.size() - 1};
    position = 0;
    steps = 0;
  }

  /// What the kernels tell of the next token.
  abi::SampledToken sample(const std::vector<float> &row) {
    logits.assign(row.begin(), row.end());
    void *pointers[gpu::kRows] = {};
    pointers[gpu::kTokens] = &token;
    pointers[gpu::kPositions] = &position;
    pointers[gpu::kLogits] = logits.data();
    pointers[gpu::kArena] = arena.data();
    pointers[gpu::kSampling] = &state;
    int32_t rows = 1, layer = 0;
    std::vector<void *> arguments;
    for (void *&pointer : pointers)
      arguments.push_back(&pointer);
    arguments.insert(arguments.end(), {&rows, &rows, &layer});
    for (const gpu::Launch &launch : launches) {
      layer = static_cast<int32_t>(launch.layer);
      llvm::Error error = emulator->launch(
          launch.kernel,
          {static_cast<uint32_t>(launch.blocks), 1,
           static_cast<uint32_t>(gpu::kThreads),
           static_cast<uint64_t>(launch.sharedBytes), /*early=*/true},
          arguments);
      EXPECT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
    }
    ++steps;
    EXPECT_EQ(state.steps, steps);
    EXPECT_EQ(position, static_cast<int32_t>(steps));
    const abi::SampledToken &entry = ring[(steps - 1) % ring.size()];
    EXPECT_EQ(entry.number, steps);
    EXPECT_EQ(entry.id, token);
    EXPECT_EQ(entry.random, state.random);
    return entry;
  }

private:
  std::unique_ptr<gpu::Emulator> emulator;
  std::vector<gpu::Launch> launches;
  std::vector<uint8_t> arena;
  std::vector<float> logits;
  std::array<abi::SampledToken, 4> ring = {};
  abi::Sampling state = {};
  int32_t token = -1, position = 0;
  uint64_t steps = 0;
};

/// The same tokens as rt::Sampler, and the same use of random numbers.
void expectSame(DeviceSampler &device,
                const std::vector<std::vector<float>> &rows,
                const rt::SamplingOptions &options, int64_t idCount) {
  rt::Sampler expected(options, idCount);
  device.begin(options, idCount);
  for (int turn = 0; turn < 3; ++turn)
    for (const std::vector<float> &row : rows) {
      const rt::Result<int32_t> id = expected.sample(row);
      ASSERT_TRUE(id);
      const abi::SampledToken found = device.sample(row);
      ASSERT_EQ(found.status, abi::kSampled);
      ASSERT_EQ(found.id, *id);
      ASSERT_EQ(found.random, expected.getRandomState());
    }
}

/// Rows whose logits spread differently, with some that are equal.
std::vector<std::vector<float>> someRows(size_t vocabulary) {
  std::mt19937 engine(static_cast<unsigned>(vocabulary));
  std::vector<std::vector<float>> rows;
  for (float spread : {0.0f, 0.01f, 0.5f, 3.0f, 12.0f}) {
    std::normal_distribution<float> normal(0, 1);
    std::vector<float> row(vocabulary);
    for (float &logit : row)
      logit = spread * normal(engine);
    for (size_t i = 0; i + 7 < vocabulary; i += 31)
      row[i + 7] = row[i];
    rows.push_back(std::move(row));
  }
  if (vocabulary > 1)
    rows.back()[vocabulary / 2] = -infinity;
  rows.front()[vocabulary / 3] = -0.0f;
  return rows;
}

TEST(Sampling, SameTokensAsTheSampler) {
  const rt::SamplingOptions options[] = {
      {.temperature = 0},
      {.temperature = 0.6, .seed = 1},
      {.temperature = 1, .topP = 1, .seed = 2},
      {.temperature = 5, .topK = 3, .topP = 0.5, .seed = 3},
      {.temperature = 1, .topK = 40, .topP = 1, .seed = 4},
      {.temperature = 2, .topK = 100, .topP = 0.9, .seed = 5},
      {.temperature = 1, .topK = 1, .topP = 1, .seed = 6},
      {.temperature = 1, .topP = 0, .seed = 7},
      {.temperature = 1e-300, .topP = 0.9, .seed = 8},
      {.temperature = 1e300, .topK = 1000000, .topP = 0.9999999, .seed = 9}};
  for (size_t vocabulary : {1, 40, 2500}) {
    const auto rows = someRows(vocabulary);
    DeviceSampler device(static_cast<int64_t>(vocabulary));
    for (const rt::SamplingOptions &one : options) {
      SCOPED_TRACE(vocabulary);
      SCOPED_TRACE(one.seed);
      expectSame(device, rows, one, static_cast<int64_t>(vocabulary));
    }
  }
}

TEST(Sampling, NeverLeavesTheTokenizer) {
  DeviceSampler device(1500);
  expectSame(device, someRows(1500), {.temperature = 5, .topP = 1, .seed = 3},
             1100);
  expectSame(device, someRows(1500), {.temperature = 0}, 3);
}

TEST(Sampling, TellsWhatIsNoNumber) {
  DeviceSampler device(1100);
  for (double temperature : {0.0, 1.0}) {
    device.begin({.temperature = temperature}, 1099);
    std::vector<float> row(1100, 1.0f);
    const auto status = [&] { return device.sample(row); };
    row[1099] = std::nanf("");
    EXPECT_EQ(status().status, abi::kSampled);
    row[1090] = infinity;
    EXPECT_EQ(status().status, abi::kInfinite);
    row[1080] = row[1085] = -std::nanf("");
    EXPECT_EQ(status().status, abi::kNotANumber);
    EXPECT_EQ(status().id, 1080);
    row.assign(1100, -infinity);
    EXPECT_EQ(status().status, abi::kMinusInfinite);
    row[7] = -3;
    EXPECT_EQ(status().id, 7);
  }
}

} // namespace
} // namespace sputnik::testing
