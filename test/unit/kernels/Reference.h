//===- Reference.h - Kernels evaluated in float64 ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The definitions of the ops, written down once more and as plainly as can be.
//
//===----------------------------------------------------------------------===//
#ifndef SPUTNIK_TEST_UNIT_KERNELS_REFERENCE_H
#define SPUTNIK_TEST_UNIT_KERNELS_REFERENCE_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sputnik::testing {

/// Row-major.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(int64_t rows, int64_t columns)
      : rows(rows), columns(columns),
        values(static_cast<std::size_t>(rows * columns)) {}
  double &at(int64_t row, int64_t column) {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
  double at(int64_t row, int64_t column) const {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
};

/// Every value rounded to the nearest bf16.
Matrix rounded(Matrix x);
/// Rows as 8-bit integers with a scale for each `group` values, as r1.cast says
/// for groups of kActivationGroup.
Matrix roundedToI8(Matrix x, int64_t group);
/// `gain` has one row; it and `x` agree in columns, or heads of `x` have as
/// many as it.
Matrix rmsNorm(const Matrix &x, const Matrix &gain);
/// x W^T + b; `bias` has one row or none.
Matrix linear(const Matrix &x, const Matrix &weight, const Matrix &bias = {});
Matrix sum(Matrix a, const Matrix &b);
Matrix swiglu(Matrix gate, const Matrix &up);
/// Row r is at position r.
Matrix rope(Matrix x, int64_t headDim);
/// Row r sees rows 0..r.
Matrix attention(const Matrix &query, const Matrix &keys, const Matrix &values,
                 int64_t headDim);

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_KERNELS_REFERENCE_H
