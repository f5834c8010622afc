//===- LinearTest.cpp - Products with weights against float64 -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include <cmath>

namespace sputnik::testing {
namespace {

constexpr int64_t rows = 43;

/// Sums are in f32 over at most a few hundred products.
constexpr double tolerance = 1e-5;

class LinearTest : public KernelFixture {
protected:
  Matrix weight(const std::string &name, int64_t outputs, int64_t inputs) {
    return tensor(name, outputs, inputs,
                  1 / std::sqrt(static_cast<double>(inputs)));
  }

  /// Rows that need more bits than bf16 has: the sum of two embeddings.
  void addInput(int64_t features) {
    const Matrix a = table("a", rows, features);
    const Matrix b = table("b", rows, features, 0.1);
    exact = sum(a, b);
    for (double &value : exact.values)
      value = static_cast<float>(value);
  }
  GraphText::Rows input(GraphText &g) {
    return g.add(g.embed("a", rows, exact.columns),
                 g.embed("b", rows, exact.columns));
  }

  /// The product with them, as each phase computes it.
  Matrix decoded(const Matrix &w, const Matrix &bias = {}) {
    return product(exact, w, r1::PhaseKind::Decode, bias);
  }
  Matrix prefilled(const Matrix &w, const Matrix &bias = {}) {
    return product(exact, w, r1::PhaseKind::Prefill, bias);
  }
  Matrix product(const Matrix &x, const Matrix &w, r1::PhaseKind phase,
                 const Matrix &bias = {}) {
    return linear(staged(x, phase), multiplied(w, phase), bias);
  }

  Matrix exact;
};

class LinearShapeTest : public LinearTest {
protected:
  void checkShape(int64_t outputs, int64_t inputs) {
    SCOPED_TRACE(std::to_string(outputs) + " x " + std::to_string(inputs));
    addInput(inputs);
    const Matrix w = weight("w", outputs, inputs);
    const Matrix bias = tensor("bias", 1, outputs);
    GraphText g = graph();
    auto y = g.linear(input(g), "w", outputs, "bias");
    check(g.finish(g.selectOutputs(y)), decoded(w, bias), prefilled(w, bias),
          tolerance);
  }
};

TEST_P(LinearShapeTest, OneByOne) { checkShape(2, 1); }
TEST_P(LinearShapeTest, WholePanels) { checkShape(64, 32); }
TEST_P(LinearShapeTest, OddInputs) { checkShape(48, 37); }
TEST_P(LinearShapeTest, OddOutputs) { checkShape(33, 64); }
TEST_P(LinearShapeTest, OddBoth) { checkShape(257, 129); }
TEST_P(LinearShapeTest, ManyPanels) { checkShape(400, 300); }
TEST_P(LinearShapeTest, LongRows) { checkShape(40, 3001); }
TEST_P(LinearShapeTest, SeveralActivationScales) { checkShape(80, 600); }
TEST_P(LinearShapeTest, FewerPanelsThanThreads) { checkShape(20, 75); }

/// The shapes that show most, for targets that differ in their instructions alone.
class LinearTargetTest : public LinearShapeTest {};

TEST_P(LinearTargetTest, OddBoth) { checkShape(257, 129); }
TEST_P(LinearTargetTest, SeveralActivationScales) { checkShape(80, 600); }

TEST_P(LinearTest, HeadReadsTheWantedRows) {
  for (int64_t outputs : {40, 77})
    for (int64_t count : {rows, int64_t(4), int64_t(1)}) {
      const std::string suffix =
          std::to_string(outputs) + "_" + std::to_string(count);
      const Matrix x = table("x" + suffix, count, 33);
      const Matrix w = weight("w" + suffix, outputs, 33);
      GraphText g = graph();
      auto selected = g.selectOutputs(g.embed("x" + suffix, count, 33));
      check(g.finish(g.linear(selected, "w" + suffix, outputs)),
            product(x, w, r1::PhaseKind::Decode),
            product(x, w, r1::PhaseKind::Prefill), tolerance);
    }
}

TEST_P(LinearTest, NormBefore) {
  addInput(75);
  // A gain is folded into weights before they are quantised: ones leave them.
  const double spread =
      scheme() == r1::Scheme::F32 || scheme() == r1::Scheme::BF16 ? 0.3 : 1e-9;
  const Matrix gain = tensor("gain", 1, 75, spread, 1);
  const Matrix w = weight("w", 50, 75);
  GraphText g = graph();
  auto y = g.linear(g.norm(input(g), "gain"), "w", 50);
  const Matrix normal = rmsNorm(exact, gain);
  check(g.finish(g.selectOutputs(y)),
        product(normal, w, r1::PhaseKind::Decode),
        product(normal, w, r1::PhaseKind::Prefill), tieTolerance(tolerance));
}

TEST_P(LinearTest, ResidualAfter) {
  addInput(64);
  const Matrix w = weight("w", 64, 64);
  GraphText g = graph();
  auto x = input(g);
  check(g.finish(g.selectOutputs(g.add(x, g.linear(x, "w", 64)))),
        sum(decoded(w), exact), sum(prefilled(w), exact), tolerance);
}

TEST_P(LinearTest, ResidualAfterOddOutputs) {
  addInput(75);
  const Matrix w = weight("w", 75, 75);
  GraphText g = graph();
  auto x = input(g);
  check(g.finish(g.selectOutputs(g.add(x, g.linear(x, "w", 75)))),
        sum(decoded(w), exact), sum(prefilled(w), exact), tolerance);
}

TEST_P(LinearTest, GateAndUp) {
  addInput(75);
  for (int64_t inner : {16, 48, 100}) {
    const std::string suffix = std::to_string(inner);
    const Matrix gate = weight("gate" + suffix, inner, 75);
    const Matrix up = weight("up" + suffix, inner, 75);
    GraphText g = graph();
    auto x = input(g);
    auto y = g.swiglu(g.linear(x, "gate" + suffix, inner),
                      g.linear(x, "up" + suffix, inner));
    check(g.finish(g.selectOutputs(y)),
          swiglu(decoded(gate), decoded(up)),
          swiglu(prefilled(gate), prefilled(up)), tolerance);
  }
}

TEST_P(LinearTest, HeadNormAndRopeAfter) {
  for (int64_t dim : {32, 80}) {
    const std::string suffix = std::to_string(dim);
    const Matrix x = table("x" + suffix, rows, 64);
    const Matrix w = weight("w" + suffix, 3 * dim, 64);
    const Matrix gain = tensor("gain" + suffix, 1, dim, 0.3, 1);
    GraphText g = graph();
    auto q = g.linear(g.embed("x" + suffix, rows, 64), "w" + suffix, 3 * dim);
    auto y = g.rope(g.norm(q, "gain" + suffix, dim), dim);
    const auto expected = [&](r1::PhaseKind phase) {
      return rope(rmsNorm(product(x, w, phase), gain), dim);
    };
    check(g.finish(g.selectOutputs(y)), expected(r1::PhaseKind::Decode),
          expected(r1::PhaseKind::Prefill), tolerance);
  }
}

SPUTNIK_INSTANTIATE_KERNELS(LinearTest);
SPUTNIK_INSTANTIATE_KERNELS(LinearShapeTest);
SPUTNIK_INSTANTIATE_BLOCK_KERNELS(LinearTest);
SPUTNIK_INSTANTIATE_BLOCK_KERNELS(LinearShapeTest);
// There may be no other targets here.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LinearTargetTest);
SPUTNIK_INSTANTIATE_TARGETS(LinearTargetTest, r1::Scheme::Q8, r1::Scheme::Q4,
                            r1::Scheme::Q4Plain, r1::Scheme::FP8);

} // namespace
} // namespace sputnik::testing
