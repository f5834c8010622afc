//===- GreedyTest.cpp - The bundled model, on a CPU and as kernels --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "benchmarks/LoadedGraph.h"
#include "codegen/weights/WeightWriter.h"
#include "importer/Checkpoint.h"
#include "importer/Graph.h"
#include "test/unit/gpu/EmulatedGraph.h"
#include "test/unit/weights/WeightFixture.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <gtest/gtest.h>

namespace sputnik::testing {
namespace {

/// "What is 347 + 85?" as a chat prompt.
const std::vector<int32_t> prompt = {375, 373, 334, 277, 220, 18, 19, 22,
                                     318, 220, 23,  20,  30,  374, 376, 198};
constexpr int generated = 24;

struct Case {
  const char *model;
  r1::Scheme scheme;
  bool byteCache = false;
};

class GreedyTest : public ::testing::TestWithParam<Case> {
protected:
  GreedyTest() {
    context.loadDialect<r1::R1Dialect, mlir::func::FuncDialect>();
    llvm::Expected<Checkpoint> opened =
        Checkpoint::open(std::string(SPUTNIK_SOURCE_DIR "/models/") +
                         GetParam().model);
    EXPECT_TRUE(static_cast<bool>(opened)) << toString(opened.takeError());
    checkpoint.emplace(std::move(*opened));
  }

  mlir::OwningOpRef<mlir::ModuleOp> import() {
    ImportOptions options;
    options.kvElement = GetParam().byteCache
                            ? mlir::Type(mlir::IntegerType::get(&context, 8))
                            : mlir::BFloat16Type::get(&context);
    options.maxContext = 512;
    options.draft = false;
    auto graph = importModel(*checkpoint, context, options);
    EXPECT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
    return std::move(*graph);
  }

  std::vector<uint8_t> image(mlir::ModuleOp module, uint64_t bytes) {
    MemorySink sink(bytes);
    llvm::Expected<ContentId> id = writeWeights(module, *checkpoint, sink);
    EXPECT_TRUE(static_cast<bool>(id)) << toString(id.takeError());
    return std::move(sink.image);
  }

  /// The likeliest token after the prompt, after that, and so on. `step` runs
  /// rows and gives the logits of the last.
  template <typename Step> std::vector<int32_t> greedy(Step step) {
    std::vector<int32_t> tokens = prompt;
    StepRows rows = StepRows::sequence(prompt.size(), 0, false);
    rows.tokens = prompt;
    while (tokens.size() < prompt.size() + generated) {
      const std::vector<float> logits = step(rows);
      tokens.push_back(static_cast<int32_t>(
          std::max_element(logits.begin(), logits.end()) - logits.begin()));
      rows = StepRows::sequence(1, static_cast<int64_t>(tokens.size()) - 1);
      rows.tokens = {tokens.back()};
    }
    return tokens;
  }

  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  std::optional<Checkpoint> checkpoint;
};

TEST_P(GreedyTest, SameTokensAsOnTheCPU) {
  LoadedGraph::Options options;
  options.scheme = GetParam().scheme;
  auto module = import();
  auto graph = LoadedGraph::create(*module, options);
  ASSERT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
  const abi::Model &model = graph->model();
  const std::vector<uint8_t> bytes = image(*module, model.weightBytes);
  rt::Mapping weights =
      llvm::cantFail(allocateMemory(model.weightBytes, "the weights"));
  std::copy(bytes.begin(), bytes.end(), weights.data());
  auto runner = llvm::cantFail(StepRunner::create(model, 2));
  const auto expected = greedy([&](const StepRows &rows) {
    std::vector<float> logits(static_cast<size_t>(model.vocabSize));
    runner->run(rows.tokens.size() > 1 ? model.prefill : model.decode, rows,
                weights.data(), logits.data());
    return logits;
  });

  EmulatedGraph::Options gpuOptions;
  gpuOptions.scheme = GetParam().scheme;
  auto gpuModule = import();
  auto kernels = EmulatedGraph::create(*gpuModule, gpuOptions);
  ASSERT_TRUE(static_cast<bool>(kernels)) << toString(kernels.takeError());
  std::vector<uint8_t> gpuWeights =
      image(*gpuModule, (*kernels)->weightBytes());
  const auto found = greedy([&](const StepRows &rows) {
    std::vector<float> logits(static_cast<size_t>((*kernels)->vocabulary()));
    llvm::Error error = (*kernels)->run(rows.tokens.size() > 1
                                            ? r1::PhaseKind::Prefill
                                            : r1::PhaseKind::Decode,
                                        rows, gpuWeights, logits.data());
    EXPECT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
    return logits;
  });
  EXPECT_EQ(found, expected);
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, GreedyTest,
    ::testing::Values(Case{"tiny-r1-qwen", r1::Scheme::BF16},
                      Case{"tiny-r1-qwen", r1::Scheme::Q8},
                      Case{"tiny-r1-qwen", r1::Scheme::Q4},
                      Case{"tiny-r1-qwen", r1::Scheme::Q4Plain},
                      Case{"tiny-r1-qwen", r1::Scheme::FP8},
                      Case{"tiny-r1-qwen", r1::Scheme::BF16, true},
                      Case{"tiny-r1-qwen", r1::Scheme::Q4, true},
                      Case{"tiny-r1", r1::Scheme::FP8},
                      Case{"tiny-r1", r1::Scheme::F32},
                      Case{"tiny-r1", r1::Scheme::BF16},
                      Case{"tiny-r1", r1::Scheme::Q4}),
    [](const ::testing::TestParamInfo<Case> &info) {
      std::string name = info.param.model;
      std::replace(name.begin(), name.end(), '-', '_');
      return name + "_" + r1::stringifyScheme(info.param.scheme).str() +
             (info.param.byteCache ? "_byte_cache" : "");
    });

} // namespace
} // namespace sputnik::testing
