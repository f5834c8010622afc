//===- CPUKernelCheck.cpp - Kernels of this machine against float64 -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include "benchmarks/LoadedGraph.h"
#include "benchmarks/StepRunner.h"
#include "codegen/cpu/Target.h"

namespace sputnik::testing {

/// Rows of a prefill step: two tiles of the kernel and a part of one.
static constexpr int64_t prefillRows = 29;

const std::vector<int> kernelOptLevels = {0, 3};

bool KernelFixture::roundsActivations() {
  return llvm::cantFail(cpu::getTarget("native", context)).getBf16Dot() !=
         r1::DotKind::FMA;
}

bool KernelFixture::roundsAttention() { return false; }
bool KernelFixture::multipliesBytes() {
  return llvm::cantFail(cpu::getTarget("native", context)).getInt8Dot() !=
         r1::IntDotKind::None;
}

namespace {
/// A graph and its weights, ready to run.
struct Kernel {
  LoadedGraph graph;
  rt::Mapping weights;

  /// Rows 0..count-1, at most `together` in a step.
  std::vector<float> run(const abi::Phase &phase, int64_t together,
                         int64_t count, int64_t threads) const {
    const abi::Model &model = graph.model();
    std::unique_ptr<StepRunner> runner =
        llvm::cantFail(StepRunner::create(model, threads));
    std::vector<float> result(static_cast<size_t>(count * model.vocabSize),
                              std::nanf(""));
    for (int64_t row = 0; row < count; row += together) {
      StepRows rows = StepRows::sequence(std::min(together, count - row), row);
      for (int32_t &token : rows.tokens)
        token += static_cast<int32_t>(row);
      runner->run(phase, rows, weights.data(),
                  result.data() + row * model.vocabSize);
    }
    return result;
  }
};
} // namespace

void KernelFixture::check(const std::string &text, const Matrix &expected,
                          const Matrix &expectedPrefill, double tolerance,
                          double prefillTolerance) {
  mlir::OwningOpRef<mlir::ModuleOp> module = parse(text);
  ASSERT_TRUE(module);
  LoadedGraph::Options options;
  options.scheme = scheme();
  options.optLevel = optLevel();
  options.prefillRows = prefillRows;
  llvm::Expected<LoadedGraph> graph = LoadedGraph::create(*module, options);
  ASSERT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());

  const abi::Model &model = graph->model();
  ASSERT_EQ(model.vocabSize, expected.columns);
  MemorySink sink(model.weightBytes);
  llvm::Expected<ContentId> id = writeWeights(*module, *checkpoint, sink);
  ASSERT_TRUE(static_cast<bool>(id)) << toString(id.takeError());
  Kernel kernel{std::move(*graph), llvm::cantFail(allocateMemory(
                                       model.weightBytes, "the weights"))};
  std::copy(sink.image.begin(), sink.image.end(), kernel.weights.data());

  const auto bits = [](const std::vector<float> &values) {
    std::vector<uint32_t> result(values.size());
    std::memcpy(result.data(), values.data(), values.size() * sizeof(float));
    return result;
  };
  const int64_t count = expected.rows;
  std::vector<uint32_t> decoded;
  const std::tuple<const char *, const abi::Phase *, int64_t, const Matrix *>
      phases[] = {{"decode", &model.decode, 1, &expected},
                  {"verify", &model.verify, model.verify.maxRows, &expected},
                  {"prefill", &model.prefill, prefillRows, &expectedPrefill}};
  for (auto [name, phase, together, wanted] : phases) {
    SCOPED_TRACE(name);
    const std::vector<float> alone = kernel.run(*phase, together, count, 1);
    expectNear(alone, *wanted,
               phase == &model.prefill ? prefillTolerance : tolerance);
    for (int64_t threads : {2, 3}) {
      EXPECT_TRUE(bits(kernel.run(*phase, together, count, threads)) ==
                  bits(alone))
          << threads << " threads give other bits than one";
    }
    if (phase == &model.decode)
      decoded = bits(alone);
    if (phase == &model.verify) {
      EXPECT_TRUE(bits(alone) == decoded)
          << "verify gives other bits than decode";
    }
  }
}

} // namespace sputnik::testing
