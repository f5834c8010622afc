//===- KernelFixture.cpp - One kernel against float64 ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include "codegen/cpu/Target.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cmath>

namespace sputnik::testing {

/// Rows of a prefill step: two tiles of the kernel and a part of one.
static constexpr int64_t prefillRows = 29;

KernelFixture::KernelFixture() {
  context.loadDialect<mlir::func::FuncDialect>();
}

bool KernelFixture::roundsActivations() {
  llvm::Expected<r1::TargetAttr> target = cpu::getTarget("native", context);
  EXPECT_TRUE(static_cast<bool>(target));
  return optLevel() > 0 && scheme() == r1::Scheme::BF16 &&
         target->getBf16Dot() != r1::DotKind::FMA;
}

Matrix KernelFixture::tensor(const std::string &name, int64_t rows,
                             int64_t columns, double deviation, double mean) {
  Matrix matrix(rows, columns);
  std::normal_distribution<double> normal(mean, deviation);
  for (double &value : matrix.values)
    value = static_cast<float>(normal(generator));
  if (rows > 1 && scheme() == r1::Scheme::BF16)
    matrix = rounded(std::move(matrix));
  std::vector<int64_t> shape = {rows, columns};
  if (rows == 1)
    shape = {columns};
  add(name, "F32", shape,
      std::vector<float>(matrix.values.begin(), matrix.values.end()));
  return matrix;
}

GraphText KernelFixture::graph(const GraphText::Cache &cache) {
  open();
  return GraphText(cache, [this](llvm::StringRef name) {
    const TensorRef *tensor = checkpoint->find(name);
    EXPECT_TRUE(tensor) << name.str();
    return llvm::formatv("[#r1.origin<\"model.safetensors\", {0}, {1}, "
                         "\"F32\">]",
                         tensor->offset, tensor->bytes)
        .str();
  });
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

static void expectNear(const std::vector<float> &found, const Matrix &expected,
                       double tolerance) {
  double worst = 0;
  std::string where;
  for (int64_t row = 0; row < expected.rows; ++row) {
    double largest = 0;
    for (int64_t i = 0; i < expected.columns; ++i)
      largest = std::max(largest, std::abs(expected.at(row, i)));
    for (int64_t i = 0; i < expected.columns; ++i) {
      const double value =
          found[static_cast<size_t>(row * expected.columns + i)];
      const double error = std::abs(value - expected.at(row, i)) / largest;
      if (!(error <= worst)) {
        worst = std::isnan(error) ? INFINITY : error;
        where = llvm::formatv("row {0}, feature {1}: {2}, expected {3}", row, i,
                              value, expected.at(row, i));
      }
    }
  }
  EXPECT_LE(worst, tolerance) << where;
}

void KernelFixture::check(const std::string &text, const Matrix &expected,
                          const Matrix &expectedPrefill, double tolerance) {
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
    expectNear(alone, *wanted, tolerance);
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

std::string kernelParamName(
    const ::testing::TestParamInfo<std::tuple<r1::Scheme, int>> &info) {
  return r1::stringifyScheme(std::get<0>(info.param)).str() + "_O" +
         std::to_string(std::get<1>(info.param));
}

} // namespace sputnik::testing
