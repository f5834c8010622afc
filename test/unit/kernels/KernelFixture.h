//===- KernelFixture.h - One kernel against float64 -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_KERNELS_KERNELFIXTURE_H
#define SPUTNIK_TEST_UNIT_KERNELS_KERNELFIXTURE_H

#include "benchmarks/GraphText.h"
#include "test/unit/kernels/Reference.h"
#include "test/unit/weights/WeightFixture.h"

#include <map>
#include <tuple>

namespace sputnik::testing {

/// A scheme, an optimisation level and a target.
using KernelParam = std::tuple<r1::Scheme, int, std::string>;

/// Code as made with these.
class KernelFixture : public WeightFixture,
                      public ::testing::WithParamInterface<KernelParam> {
protected:
  KernelFixture();

  r1::Scheme scheme() const { return std::get<0>(GetParam()); }
  int optLevel() const { return std::get<1>(GetParam()); }
  const std::string &target() const { return std::get<2>(GetParam()); }
  /// What linears make of their input rows in prefill, or in decode and verify,
  /// and what they multiply these with.
  Matrix staged(const Matrix &x, r1::PhaseKind phase);
  Matrix multiplied(const Matrix &weight, r1::PhaseKind phase);
  /// How far results may be off where the input of a linear is computed: one
  /// that falls on the other side of a tie is off by a unit of its rounding.
  double tieTolerance(double tolerance);

  /// Adds a tensor of normal values with the given deviation and mean, and
  /// gives what the image holds of it. One row makes a vector, which is stored
  /// in f32; a table is only looked up, not multiplied.
  Matrix tensor(const std::string &name, int64_t rows, int64_t columns,
                double deviation = 1, double mean = 0);
  Matrix table(const std::string &name, int64_t rows, int64_t columns,
               double deviation = 1);
  /// Only after all tensors are added.
  GraphText graph(const GraphText::Cache &cache);
  GraphText graph() { return graph(GraphText::Cache()); }

  /// Runs a sequence of rows with tokens and positions 0.. through decode,
  /// verify and prefill, each with 1, 2 and 3 threads (some rows of decode and
  /// verify with 1 only; on a GPU, in several orders of threads and blocks), and
  /// expects:
  /// * each result within `tolerance` of the greatest magnitude in its row of
  ///   `expected`, prefill's within `prefillTolerance` of `expectedPrefill`;
  /// * the same bits whatever the number, or the order, of threads;
  /// * the same bits in decode and verify.
  void check(const std::string &text, const Matrix &expected,
             const Matrix &expectedPrefill, double tolerance,
             double prefillTolerance);
  void check(const std::string &text, const Matrix &expected,
             const Matrix &expectedPrefill, double tolerance) {
    check(text, expected, expectedPrefill, tolerance, tolerance);
  }
  void check(const std::string &text, const Matrix &expected,
             double tolerance) {
    check(text, expected, expected, tolerance);
  }

  /// Whether prefill's attention over a cache in bf16 or bytes rounds queries and
  /// the weights of values to bf16.
  bool roundsAttention();
  /// Whether prefill's attention over a cache in bytes rounds queries to bytes, as
  /// decode's does.
  static bool attendsInBytes();
  /// Whether prefill's products make bf16 of weights in blocks.
  bool roundsWeights();
  /// Whether products with blocks of bytes round their rows to bytes.
  bool multipliesBytes();

private:
  /// Whether prefill's linears of this machine round rows to bf16.
  bool roundsActivations();
  Matrix addStored(const std::string &name, Matrix matrix, r1::Scheme stored);
  Matrix draw(int64_t rows, int64_t columns, double deviation, double mean);

  std::mt19937 generator{7};
};

/// Expects each value within `tolerance` of the greatest magnitude in its row.
void expectNear(const std::vector<float> &found, const Matrix &expected,
                double tolerance);

/// The optimisation levels and block schemes that there are kernels for, and
/// the schemes that experts of any number of columns may have.
extern const std::vector<int> kernelOptLevels;
extern const std::vector<r1::Scheme> kernelBlockSchemes;
extern const std::vector<r1::Scheme> kernelExpertSchemes;

/// Targets beside the machine's own whose code can be run here.
std::vector<std::string> otherKernelTargets();

/// Names an instantiation.
std::string
kernelParamName(const ::testing::TestParamInfo<KernelParam> &info);

#define SPUTNIK_INSTANTIATE_KERNELS(Fixture)                                   \
  INSTANTIATE_TEST_SUITE_P(                                                    \
      Schemes, Fixture,                                                        \
      ::testing::Combine(::testing::Values(r1::Scheme::F32, r1::Scheme::BF16), \
                         ::testing::ValuesIn(kernelOptLevels),                 \
                         ::testing::Values("native")),                         \
      kernelParamName)

/// Kernels whose instructions depend on the target, with packed weights.
#define SPUTNIK_INSTANTIATE_TARGETS(Fixture, ...)                              \
  INSTANTIATE_TEST_SUITE_P(                                                    \
      Targets, Fixture,                                                        \
      ::testing::Combine(::testing::Values(r1::Scheme::BF16, ##__VA_ARGS__),   \
                         ::testing::Values(3),                                 \
                         ::testing::ValuesIn(otherKernelTargets())),           \
      kernelParamName)

/// The same with block schemes.
#define SPUTNIK_INSTANTIATE_BLOCK_KERNELS(Fixture)                             \
  INSTANTIATE_TEST_SUITE_P(                                                    \
      BlockSchemes, Fixture,                                                   \
      ::testing::Combine(::testing::ValuesIn(kernelBlockSchemes),              \
                         ::testing::ValuesIn(kernelOptLevels),                 \
                         ::testing::Values("native")),                         \
      kernelParamName)

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_KERNELS_KERNELFIXTURE_H
