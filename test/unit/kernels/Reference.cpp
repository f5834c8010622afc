//===- Reference.cpp - Kernels evaluated in float64 -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/Reference.h"

#include "benchmarks/GraphText.h"
#include "codegen/weights/WeightEncoder.h"

#include <algorithm>
#include <cmath>

namespace sputnik::testing {

Matrix rounded(Matrix x) {
  for (double &value : x.values)
    value = fromBFloat16(toBFloat16(static_cast<float>(value)));
  return x;
}

Matrix roundedToI8(Matrix x, int64_t group) {
  for (int64_t row = 0; row < x.rows; ++row)
    for (int64_t first = 0; first < x.columns; first += group) {
      const int64_t end = std::min(first + group, x.columns);
      float peak = 0;
      for (int64_t i = first; i < end; ++i)
        peak = std::max(peak, std::abs(static_cast<float>(x.at(row, i))));
      const float inverse = peak > 0 ? 127.0f / peak : 0.0f;
      const float scale = peak * (1.0f / 127.0f);
      for (int64_t i = first; i < end; ++i)
        x.at(row, i) =
            static_cast<double>(scale) *
            std::nearbyint(static_cast<float>(x.at(row, i)) * inverse);
    }
  return x;
}

Matrix rmsNorm(const Matrix &x, const Matrix &gain) {
  Matrix y = x;
  const int64_t length = gain.columns;
  for (int64_t row = 0; row < x.rows; ++row)
    for (int64_t first = 0; first < x.columns; first += length) {
      double squares = 0;
      for (int64_t i = 0; i < length; ++i)
        squares += x.at(row, first + i) * x.at(row, first + i);
      const double root =
          std::sqrt(squares / static_cast<double>(length) + 1e-6);
      for (int64_t i = 0; i < length; ++i)
        y.at(row, first + i) = x.at(row, first + i) / root * gain.at(0, i);
    }
  return y;
}

Matrix linear(const Matrix &x, const Matrix &weight, const Matrix &bias) {
  Matrix y(x.rows, weight.rows);
  for (int64_t row = 0; row < x.rows; ++row)
    for (int64_t n = 0; n < weight.rows; ++n) {
      double total = bias.rows ? bias.at(0, n) : 0;
      for (int64_t k = 0; k < x.columns; ++k)
        total += weight.at(n, k) * x.at(row, k);
      y.at(row, n) = total;
    }
  return y;
}

Matrix sum(Matrix a, const Matrix &b) {
  for (size_t i = 0; i < a.values.size(); ++i)
    a.values[i] += b.values[i];
  return a;
}

Matrix swiglu(Matrix gate, const Matrix &up) {
  for (size_t i = 0; i < gate.values.size(); ++i)
    gate.values[i] *= up.values[i] / (1 + std::exp(-gate.values[i]));
  return gate;
}

Matrix rope(Matrix x, int64_t headDim) {
  const int64_t half = headDim / 2;
  for (int64_t row = 0; row < x.rows; ++row)
    for (int64_t head = 0; head < x.columns; head += headDim)
      for (int64_t i = 0; i < half; ++i) {
        const double angle =
            static_cast<double>(row) * GraphText::ropeFrequency(i, headDim);
        double &first = x.at(row, head + i),
               &second = x.at(row, head + i + half);
        const double a = first, b = second;
        first = a * std::cos(angle) - b * std::sin(angle);
        second = b * std::cos(angle) + a * std::sin(angle);
      }
  return x;
}

Matrix attention(const Matrix &query, const Matrix &keys, const Matrix &values,
                 int64_t headDim) {
  Matrix y(query.rows, query.columns);
  const int64_t group = query.columns / keys.columns;
  for (int64_t row = 0; row < query.rows; ++row)
    for (int64_t head = 0; head < query.columns / headDim; ++head) {
      const int64_t q = head * headDim, kv = head / group * headDim;
      std::vector<double> scores;
      for (int64_t position = 0; position <= row; ++position) {
        double score = 0;
        for (int64_t i = 0; i < headDim; ++i)
          score += query.at(row, q + i) * keys.at(position, kv + i);
        scores.push_back(score / std::sqrt(static_cast<double>(headDim)));
      }
      const double peak = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double &score : scores)
        total += score = std::exp(score - peak);
      for (int64_t position = 0; position <= row; ++position)
        for (int64_t i = 0; i < headDim; ++i)
          y.at(row, q + i) += scores[static_cast<size_t>(position)] / total *
                              values.at(position, kv + i);
    }
  return y;
}

} // namespace sputnik::testing
