//===- KernelFixture.cpp - One kernel against float64 ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cmath>

namespace sputnik::testing {

KernelFixture::KernelFixture() {
  context.loadDialect<mlir::func::FuncDialect>();
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

std::string kernelParamName(
    const ::testing::TestParamInfo<std::tuple<r1::Scheme, int>> &info) {
  return r1::stringifyScheme(std::get<0>(info.param)).str() + "_O" +
         std::to_string(std::get<1>(info.param));
}

} // namespace sputnik::testing
