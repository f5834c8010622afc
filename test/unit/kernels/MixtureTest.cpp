//===- MixtureTest.cpp - Routing and experts against float64 --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace sputnik::testing {
namespace {

struct Router {
  int64_t groups, keep, slots;
  bool normalize;
  double scale;
};

/// How much each expert counts for each row, 0 for those not chosen.
Matrix route(const Matrix &scores, const Matrix &bias, const Router &router) {
  const int64_t size = scores.columns / router.groups;
  Matrix result(scores.rows, scores.columns);
  for (int64_t row = 0; row < scores.rows; ++row) {
    std::vector<double> weight, choice;
    for (int64_t e = 0; e < scores.columns; ++e) {
      weight.push_back(1 / (1 + std::exp(-scores.at(row, e))));
      choice.push_back(weight.back() + bias.at(0, e));
    }
    std::vector<double> groups;
    for (int64_t g = 0; g < router.groups; ++g) {
      std::vector<double> own(choice.begin() + g * size,
                              choice.begin() + (g + 1) * size);
      std::sort(own.rbegin(), own.rend());
      groups.push_back(own[0] + own[1]);
    }
    const auto best = [](const std::vector<double> &values) {
      std::vector<int64_t> order(values.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return values[a] > values[b];
      });
      return order;
    };
    const std::vector<int64_t> order = best(groups);
    for (size_t i = router.keep; i < order.size(); ++i)
      std::fill_n(choice.begin() + order[i] * size, size, -INFINITY);
    std::vector<int64_t> chosen = best(choice);
    chosen.resize(router.slots);
    double sum = 0;
    for (int64_t e : chosen)
      sum += weight[e];
    for (int64_t e : chosen)
      result.at(row, e) =
          router.scale * (router.normalize ? weight[e] / sum : weight[e]);
  }
  return result;
}

class MixtureTest : public KernelFixture {
protected:
  void addTable(const std::string &name, const Matrix &m) {
    std::vector<int64_t> shape = {m.rows, m.columns};
    if (m.rows == 1)
      shape = {m.columns};
    add(name, "F32", shape, std::vector<float>(m.values.begin(), m.values.end()));
  }

  /// Shows factors as rows: expert e writes to feature e what its slot counts.
  void checkRoute(const Matrix &scores, const Matrix &bias,
                  const Router &router, const Matrix &expected,
                  const std::string &suffix = "") {
    const int64_t experts = scores.columns;
    addTable("scores" + suffix, scores);
    addTable("bias" + suffix, bias);
    Matrix ones(scores.rows, router.slots), unit(experts * experts, 1);
    std::fill(ones.values.begin(), ones.values.end(), 1.0);
    for (int64_t e = 0; e < experts; ++e)
      unit.at(e * experts + e, 0) = 1;
    addTable("ones" + suffix, ones);
    addTable("unit" + suffix, unit);
    GraphText g = graph();
    auto way = g.route(g.embed("scores" + suffix, scores.rows, experts),
                       "bias" + suffix, router.groups, router.keep,
                       router.slots, router.normalize, router.scale);
    auto y =
        g.expertsDown(g.embed("ones" + suffix, scores.rows, router.slots), way,
                      "unit" + suffix, experts, experts);
    check(g.finish(g.selectOutputs(y)), expected, 1e-5);
  }

  void checkExperts(int64_t hidden, int64_t inner, int64_t experts,
                    const Router &router, double biasDeviation = 0.2) {
    constexpr int64_t rows = 61;
    const Matrix scores = table("scores", rows, experts, 1.5);
    const Matrix bias = tensor("bias", 1, experts, biasDeviation, 0.5);
    const Matrix x = table("x", rows, hidden);
    const double wide = 1 / std::sqrt(static_cast<double>(hidden));
    const Matrix gate = tensor("gate", experts * inner, hidden, 2 * wide);
    const Matrix up = tensor("up", experts * inner, hidden, wide);
    const Matrix down = tensor("down", experts * hidden, inner,
                               1 / std::sqrt(static_cast<double>(inner)));
    const Matrix factors = route(scores, bias, router);
    const auto part = [](const Matrix &m, int64_t e, int64_t size) {
      Matrix result(size, m.columns);
      std::copy_n(m.values.begin() + e * size * m.columns, size * m.columns,
                  result.values.begin());
      return result;
    };
    const auto expectedIn = [&](r1::PhaseKind phase) {
      // Slots of bytes have groups of their own, of bf16 pairs.
      const bool bytes =
          scheme() != r1::Scheme::BF16 && scheme() != r1::Scheme::FP8 &&
          !(phase == r1::PhaseKind::Prefill && roundsWeights());
      const bool rounds = inner % (bytes ? r1::kActivationGroup : 2) == 0;
      // Parts of rows of no whole 16 bytes are left to the kernel of decode.
      const bool copies = router.slots == 1 || inner % 8 == 0;
      Matrix result(rows, hidden);
      const Matrix in = staged(x, phase);
      for (int64_t e = 0; e < experts; ++e) {
        const Matrix h =
            swiglu(linear(in, multiplied(part(gate, e, inner), phase)),
                   linear(in, multiplied(part(up, e, inner), phase)));
        const Matrix own = part(down, e, hidden);
        const Matrix y = linear(rounds ? staged(h, phase) : h,
                                copies ? multiplied(own, phase) : own);
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t i = 0; i < hidden; ++i)
            result.at(row, i) += factors.at(row, e) * y.at(row, i);
      }
      return result;
    };
    GraphText g = graph();
    auto way = g.route(g.embed("scores", rows, experts), "bias", router.groups,
                       router.keep, router.slots, router.normalize,
                       router.scale);
    auto h = g.expertsUp(g.embed("x", rows, hidden), way, "gate", "up", experts,
                         inner);
    auto y = g.expertsDown(h, way, "down", experts, hidden);
    // Rounded activations may fall on the other side of a tie.
    check(g.finish(g.selectOutputs(y)), expectedIn(r1::PhaseKind::Decode),
          expectedIn(r1::PhaseKind::Prefill), 2 * tieTolerance(1e-5));
  }
};

/// What depends on the target: panels, and tiles of many slots and of few.
class MixtureTargetTest : public MixtureTest {};

/// Slots of whole groups of columns are multiplied as bytes, others are not.
class BlockMixtureTest : public MixtureTest {};

/// Tables of bf16 would round the vectors.
class SharedVectorsTest : public MixtureTest {};

TEST_P(SharedVectorsTest, AgreeWithTheRouter) {
  const char *shared = std::getenv("SPUTNIK_SHARED_DATA");
  const std::string file =
      (shared ? shared : SPUTNIK_SOURCE_DIR "/../shared/data") +
      std::string("/golden/moe_gate_golden.json");
  auto buffer = llvm::MemoryBuffer::getFile(file);
  if (!buffer)
    GTEST_SKIP() << "no " << file;
  llvm::Expected<llvm::json::Value> json =
      llvm::json::parse((*buffer)->getBuffer());
  ASSERT_TRUE(static_cast<bool>(json));
  const llvm::json::Array &cases = *json->getAsObject()->getArray("cases");
  for (auto [n, value] : llvm::enumerate(cases)) {
    const auto row = [&, &value = value](llvm::StringRef key) {
      const llvm::json::Array &values = *value.getAsObject()->getArray(key);
      Matrix result(1, static_cast<int64_t>(values.size()));
      for (size_t i = 0; i < values.size(); ++i)
        result.values[i] = *values[i].getAsNumber();
      return result;
    };
    const Matrix scores = row("logits"), bias = row("e_score_correction_bias"),
                 chosen = row("experts_by_score"), weights = row("weights");
    Matrix expected(1, scores.columns), table(2, scores.columns);
    std::copy(scores.values.begin(), scores.values.end(), table.values.begin());
    for (int64_t i = 0; i < chosen.columns; ++i)
      expected.at(0, static_cast<int64_t>(chosen.at(0, i))) = weights.at(0, i);
    checkRoute(table, bias, {8, 4, 8, true, 2.5}, expected, std::to_string(n));
  }
}

TEST_P(MixtureTest, TiesGoToTheLowerIndex) {
  Matrix scores(3, 12), bias(1, 12);
  for (int64_t e : {7, 9, 10})
    scores.at(1, e) = 1;
  std::fill_n(scores.values.begin() + 24, 12, -3.0);
  const Router router = {3, 2, 5, true, 1};
  checkRoute(scores, bias, router, route(scores, bias, router));
}

TEST_P(MixtureTest, BiasChoosesAndDoesNotCount) {
  const Matrix scores = table("s", 40, 16, 2), bias = tensor("b", 1, 16, 0.5);
  const Router router = {4, 4, 3, false, 0.7};
  checkRoute(scores, bias, router, route(scores, bias, router));
}

TEST_P(MixtureTest, WholePanels) {
  checkExperts(64, 32, 8, {2, 1, 3, true, 2.5});
}
TEST_P(MixtureTest, OddSizes) { checkExperts(50, 21, 6, {3, 2, 2, true, 1}); }
TEST_P(MixtureTest, EverySlot) { checkExperts(40, 24, 4, {2, 2, 4, false, 1}); }
TEST_P(MixtureTest, ManyExperts) {
  checkExperts(33, 18, 64, {8, 4, 6, true, 2.5});
}
TEST_P(MixtureTest, MostRowsChooseTheSame) {
  checkExperts(72, 40, 64, {8, 4, 6, true, 2.5}, /*biasDeviation=*/2);
}
TEST_P(MixtureTargetTest, WholePanels) {
  checkExperts(64, 32, 8, {2, 1, 3, true, 2.5});
}
TEST_P(MixtureTargetTest, OddSizes) {
  checkExperts(50, 21, 6, {3, 2, 2, true, 1});
}
TEST_P(MixtureTargetTest, ManyExperts) {
  checkExperts(33, 18, 64, {8, 4, 6, true, 2.5});
}
TEST_P(MixtureTargetTest, MostRowsChooseTheSame) {
  checkExperts(72, 40, 64, {8, 4, 6, true, 2.5}, /*biasDeviation=*/2);
}
TEST_P(BlockMixtureTest, WholeGroups) {
  checkExperts(128, 128, 8, {2, 1, 3, true, 2.5});
}
TEST_P(BlockMixtureTest, HighTiles) {
  checkExperts(256, 256, 2, {1, 1, 1, false, 1});
}
TEST_P(BlockMixtureTest, PartsOfGroups) {
  checkExperts(160, 80, 6, {3, 2, 2, true, 1});
}
TEST_P(BlockMixtureTest, MostRowsChooseTheSame) {
  checkExperts(96, 128, 32, {4, 2, 3, true, 1}, /*biasDeviation=*/2);
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, MixtureTest,
    ::testing::Combine(::testing::ValuesIn(kernelExpertSchemes),
                       ::testing::ValuesIn(kernelOptLevels),
                       ::testing::Values("native")),
    kernelParamName);
// A machine may run code of no other target.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MixtureTargetTest);
SPUTNIK_INSTANTIATE_TARGETS(MixtureTargetTest, r1::Scheme::FP8);
SPUTNIK_INSTANTIATE_BLOCK_KERNELS(BlockMixtureTest);
INSTANTIATE_TEST_SUITE_P(F32, SharedVectorsTest,
                         ::testing::Combine(::testing::Values(r1::Scheme::F32),
                                            ::testing::Values(0, 3),
                                            ::testing::Values("native")),
                         kernelParamName);

} // namespace
} // namespace sputnik::testing
