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

#include <functional>

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

/// Makes a step of rows in the phase of that name; gives the logits of rows that
/// are outputs.
using Step = std::function<std::vector<float>(llvm::StringRef phase,
                                              const StepRows &rows)>;

int32_t likeliest(llvm::ArrayRef<float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) -
                              logits.begin());
}

/// Rows of `tokens` at the positions from `first` on.
StepRows rowsOf(llvm::ArrayRef<int32_t> tokens, size_t first,
                bool allOutputs = false) {
  StepRows rows = StepRows::sequence(static_cast<int64_t>(tokens.size()),
                                     static_cast<int64_t>(first), allOutputs);
  rows.tokens = tokens;
  return rows;
}

/// The prompt, the likeliest token after it, after that, and so on.
std::vector<int32_t> decode(const Step &step) {
  std::vector<int32_t> text = prompt;
  text.push_back(likeliest(step(r1::kPrefill, rowsOf(text, 0))));
  while (text.size() < prompt.size() + generated)
    text.push_back(
        likeliest(step(r1::kDecode, rowsOf(text.back(), text.size() - 1))));
  return text;
}

/// The same, by steps that check a guess of the draft head. `right` counts the
/// guesses that were.
std::vector<int32_t> decodeWithDrafts(const Step &step, int &right) {
  std::vector<int32_t> text = prompt;
  text.push_back(likeliest(step(r1::kPrefill, rowsOf(text, 0))));
  // The first row whose state the head has not read.
  size_t unread = 0;
  while (text.size() < prompt.size() + generated) {
    const auto next = llvm::ArrayRef(text).drop_front(unread + 1);
    const int32_t guess = likeliest(step(
        unread ? r1::kDraftVerify : r1::kDraftPrefill, rowsOf(next, unread)));
    unread = text.size() - 1;
    const std::vector<float> logits =
        step(r1::kVerify, rowsOf({text.back(), guess}, unread,
                                 /*allOutputs=*/true));
    const auto [first, second] =
        std::pair(llvm::ArrayRef(logits).take_front(logits.size() / 2),
                  llvm::ArrayRef(logits).drop_front(logits.size() / 2));
    text.push_back(likeliest(first));
    if (text.back() != guess)
      continue;
    ++right;
    text.push_back(likeliest(second));
  }
  text.resize(prompt.size() + generated);
  return text;
}

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

  /// What the CPU decodes.
  std::vector<int32_t> decodeOnTheCPU() {
    LoadedGraph::Options options;
    options.scheme = GetParam().scheme;
    auto module = import();
    auto graph = LoadedGraph::create(*module, options);
    EXPECT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
    const abi::Model &model = graph->model();
    const std::vector<uint8_t> bytes = image(*module, model.weightBytes);
    rt::Mapping weights =
        llvm::cantFail(allocateMemory(model.weightBytes, "the weights"));
    std::copy(bytes.begin(), bytes.end(), weights.data());
    auto runner = llvm::cantFail(StepRunner::create(model, 2));
    return decode([&](llvm::StringRef phase, const StepRows &rows) {
      std::vector<float> logits(static_cast<size_t>(model.vocabSize));
      runner->run(phase == r1::kPrefill ? model.prefill : model.decode, rows,
                  weights.data(), logits.data());
      return logits;
    });
  }

  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  std::optional<Checkpoint> checkpoint;
};

TEST_P(GreedyTest, SameTokensAsOnTheCPU) {
  const std::vector<int32_t> expected = decodeOnTheCPU();

  EmulatedGraph::Options options;
  options.scheme = GetParam().scheme;
  auto module = import();
  auto kernels = EmulatedGraph::create(*module, options);
  ASSERT_TRUE(static_cast<bool>(kernels)) << toString(kernels.takeError());
  std::vector<uint8_t> weights = image(*module, (*kernels)->weightBytes());
  const Step step = [&](llvm::StringRef phase, const StepRows &rows) {
    std::vector<float> logits(rows.outputs.size() *
                              static_cast<size_t>((*kernels)->vocabulary()));
    llvm::Error error = (*kernels)->run(phase, rows, weights, logits.data());
    EXPECT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
    return logits;
  };
  EXPECT_EQ(decode(step), expected);

  if (!module->lookupSymbol(r1::kDraftVerify))
    return;
  (*kernels)->reset(1);
  int right = 0;
  EXPECT_EQ(decodeWithDrafts(step, right), expected);
  EXPECT_GT(right, 0);
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
