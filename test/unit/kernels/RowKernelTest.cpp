//===- RowKernelTest.cpp - Ops on rows against float64 --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

namespace sputnik::testing {
namespace {

using RowKernelTest = KernelFixture;

constexpr int64_t rows = 43;

TEST_P(RowKernelTest, EmbedIsExact) {
  const Matrix e = tensor("embed", rows, 37);
  GraphText g = graph();
  check(g.finish(g.selectOutputs(g.embed("embed", rows, 37))), e, 0);
}

TEST_P(RowKernelTest, EmbedSharedWithTheHead) {
  for (int64_t features : {32, 75}) {
    const std::string name = "embed" + std::to_string(features);
    const Matrix e = tensor(name, rows, features);
    GraphText g = graph();
    auto x = g.embed(name, rows, features);
    check(g.finish(g.linear(g.selectOutputs(x), name, rows)), linear(e, e),
          1e-5);
  }
}

TEST_P(RowKernelTest, NormOfRows) {
  for (int64_t features : {1, 16, 75, 200}) {
    const std::string suffix = std::to_string(features);
    const Matrix x = tensor("x" + suffix, rows, features);
    const Matrix gain = tensor("gain" + suffix, 1, features, 0.3, 1);
    GraphText g = graph();
    auto y = g.norm(g.embed("x" + suffix, rows, features), "gain" + suffix);
    check(g.finish(g.selectOutputs(y)), rmsNorm(x, gain), 1e-6);
  }
}

TEST_P(RowKernelTest, NormOfHeads) {
  const Matrix x = tensor("x", rows, 240);
  const Matrix gain = tensor("gain", 1, 80, 0.3, 1);
  GraphText g = graph();
  auto y = g.norm(g.embed("x", rows, 240), "gain", 80);
  check(g.finish(g.selectOutputs(y)), rmsNorm(x, gain), 1e-6);
}

TEST_P(RowKernelTest, NormOfTinyAndHugeValues) {
  const Matrix small = tensor("small", rows, 48, 1e-4);
  const Matrix huge = tensor("huge", rows, 48, 1e8);
  const Matrix gain = tensor("gain", 1, 48, 0.3, 1);
  GraphText g = graph();
  auto a = g.norm(g.embed("small", rows, 48), "gain");
  auto b = g.norm(g.embed("huge", rows, 48), "gain");
  check(g.finish(g.selectOutputs(g.add(a, b))),
        sum(rmsNorm(small, gain), rmsNorm(huge, gain)), 1e-6);
}

TEST_P(RowKernelTest, SwiGLU) {
  const Matrix gate = tensor("gate", rows, 75, 8);
  const Matrix up = tensor("up", rows, 75);
  GraphText g = graph();
  auto y = g.swiglu(g.embed("gate", rows, 75), g.embed("up", rows, 75));
  check(g.finish(g.selectOutputs(y)), swiglu(gate, up), 1e-6);
}

TEST_P(RowKernelTest, Rope) {
  for (int64_t dim : {16, 64, 80}) {
    const std::string name = "x" + std::to_string(dim);
    const Matrix x = tensor(name, 300, 2 * dim);
    GraphText g = graph();
    auto y = g.rope(g.embed(name, 300, 2 * dim), dim);
    check(g.finish(g.selectOutputs(y)), rope(x, dim), 1e-6);
  }
}

SPUTNIK_INSTANTIATE_KERNELS(RowKernelTest);

} // namespace
} // namespace sputnik::testing
