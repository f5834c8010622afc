//===- KernelFixture.cpp - One kernel against float64 ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include "codegen/weights/WeightEncoder.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>

namespace sputnik::testing {

KernelFixture::KernelFixture() {
  context.loadDialect<mlir::func::FuncDialect>();
}

static bool isBlockScheme(r1::Scheme scheme) {
  return scheme != r1::Scheme::F32 && scheme != r1::Scheme::BF16;
}

Matrix KernelFixture::staged(const Matrix &x, r1::PhaseKind phase) {
  if (optLevel() == 0)
    return x;
  const bool prefill = phase == r1::PhaseKind::Prefill;
  const bool bytes =
      isBlockScheme(scheme()) && scheme() != r1::Scheme::FP8;
  if (bytes && !(prefill && roundsWeights()))
    return multipliesBytes() ? roundedToI8(x, r1::kActivationGroup) : x;
  const bool rounds =
      scheme() != r1::Scheme::F32 && prefill && roundsActivations();
  return rounds ? rounded(x) : x;
}

Matrix KernelFixture::multiplied(const Matrix &weight, r1::PhaseKind phase) {
  const bool rounds = optLevel() > 0 && isBlockScheme(scheme()) &&
                      phase == r1::PhaseKind::Prefill && roundsWeights();
  return rounds ? rounded(weight) : weight;
}

double KernelFixture::tieTolerance(double tolerance) {
  if (optLevel() == 0 || scheme() == r1::Scheme::F32)
    return tolerance;
  const bool bytes = isBlockScheme(scheme()) && scheme() != r1::Scheme::FP8;
  return bytes ? 5e-3 : 1e-3;
}

Matrix KernelFixture::draw(int64_t rows, int64_t columns, double deviation,
                           double mean) {
  Matrix matrix(rows, columns);
  std::normal_distribution<double> normal(mean, deviation);
  for (double &value : matrix.values)
    value = static_cast<float>(normal(generator));
  return matrix;
}

Matrix KernelFixture::addStored(const std::string &name, Matrix matrix,
                                r1::Scheme stored) {
  std::vector<float> values(matrix.values.begin(), matrix.values.end());
  add(name, "F32",
      matrix.rows == 1 ? std::vector<int64_t>{matrix.columns}
                       : std::vector<int64_t>{matrix.rows, matrix.columns},
      values);
  roundToScheme(stored, matrix.columns, values);
  matrix.values.assign(values.begin(), values.end());
  return matrix;
}

Matrix KernelFixture::tensor(const std::string &name, int64_t rows,
                             int64_t columns, double deviation, double mean) {
  return addStored(name, draw(rows, columns, deviation, mean),
                   rows == 1 ? r1::Scheme::F32 : scheme());
}

Matrix KernelFixture::table(const std::string &name, int64_t rows,
                            int64_t columns, double deviation) {
  return addStored(name, draw(rows, columns, deviation, 0),
                   isBlockScheme(scheme()) ? r1::Scheme::BF16 : scheme());
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

void expectNear(const std::vector<float> &found, const Matrix &expected,
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

std::string
kernelParamName(const ::testing::TestParamInfo<KernelParam> &info) {
  auto [scheme, level, target] = info.param;
  std::string name = r1::stringifyScheme(scheme).str() + "_O" +
                     std::to_string(level) + "_" + target;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !llvm::isAlnum(c); }, '_');
  return name;
}

} // namespace sputnik::testing
