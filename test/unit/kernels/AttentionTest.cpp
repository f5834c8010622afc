//===- AttentionTest.cpp - Cache and attention against float64 ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/AttentionFixture.h"

#include <cmath>

namespace sputnik::testing {
namespace {

constexpr int64_t contextRows = 300;

class AttentionTest : public AttentionFixture {
protected:
  /// Contexts of 1 to `rows` positions; queries, keys and values from tables.
  void checkHeads(int64_t kvHeads, int64_t group, int64_t dim, int64_t rows) {
    const int64_t width = kvHeads * dim;
    const Matrix q = tensor("q", rows, group * width, 2);
    const Matrix k = tensor("k", rows, width), v = tensor("v", rows, width);
    addNegated("minus_q", q);
    const bool narrow = scheme() == r1::Scheme::BF16;
    GraphText g = graph({kvHeads, dim, 1040, narrow ? "bf16" : "f32"});
    auto query = g.embed("q", rows, group * width);
    auto keys = g.embed("k", rows, width), values = g.embed("v", rows, width);
    auto stream = g.beginLayers(query);
    g.append(keys, values);
    auto y = attend(g, stream, rows);
    const Matrix expected = attention(q, k, v, dim);
    // A weight of bf16 is off by 2^-9 of itself at most.
    check(g.finish(g.selectOutputs(y)), expected, expected, 1e-5,
          narrow && roundsAttention() ? 4e-3 : 1e-5);
  }
};

TEST_P(AttentionTest, Group1Dim64) { checkHeads(2, 1, 64, contextRows); }
TEST_P(AttentionTest, Group1Dim80) { checkHeads(3, 1, 80, 70); }
TEST_P(AttentionTest, Group3Dim64) { checkHeads(1, 3, 64, 100); }
TEST_P(AttentionTest, Group3Dim80) { checkHeads(2, 3, 80, contextRows); }
TEST_P(AttentionTest, Group7Dim80) { checkHeads(1, 7, 80, 70); }
TEST_P(AttentionTest, Group7Dim128) { checkHeads(2, 7, 128, contextRows); }

TEST_P(AttentionTest, LargeScores) {
  // exp() of the differences under- and overflows without the maximum.
  const Matrix q = tensor("q", 70, 64, 100), k = tensor("k", 70, 64, 10);
  const Matrix v = tensor("v", 70, 64);
  addNegated("minus_q", q);
  const bool narrow = scheme() == r1::Scheme::BF16;
  GraphText g = graph({1, 64, 80, narrow ? "bf16" : "f32"});
  auto query = g.embed("q", 70, 64), keys = g.embed("k", 70, 64);
  auto values = g.embed("v", 70, 64);
  auto stream = g.beginLayers(query);
  g.append(keys, values);
  auto y = attend(g, stream, 70);
  // Scores near 1000 carry an error of some 1e-4 in f32, and so do weights.
  const Matrix expected = attention(q, k, v, 64);
  check(g.finish(g.selectOutputs(y)), expected, expected, 2e-3,
        narrow && roundsAttention() ? 6e-3 : 2e-3);
}

/// Projections, RoPE, cache and attention as a layer has them, so that q, k and
/// v are one product whose heads go three ways.
TEST_P(AttentionTest, ProjectionsBefore) {
  for (auto [dim, group] : {std::pair<int64_t, int64_t>{80, 1}, {64, 3}}) {
    const std::string s = std::to_string(dim);
    const int64_t kv = 2 * dim, hidden = group * kv, rows = 70;
    const double deviation = 1 / std::sqrt(static_cast<double>(hidden));
    const Matrix x = tensor("x" + s, rows, hidden);
    const Matrix wq = tensor("wq" + s, hidden, hidden, deviation);
    const Matrix wk = tensor("wk" + s, kv, hidden, deviation);
    const Matrix wv = tensor("wv" + s, kv, hidden, deviation);
    const Matrix bq = tensor("bq" + s, 1, hidden);
    const Matrix bk = tensor("bk" + s, 1, kv), bv = tensor("bv" + s, 1, kv);
    GraphText g = graph({2, dim, 80, "f32"});
    auto stream = g.beginLayers(g.embed("x" + s, rows, hidden));
    auto q = g.rope(g.linear(stream, "wq" + s, hidden, "bq" + s), dim);
    auto k = g.rope(g.linear(stream, "wk" + s, kv, "bk" + s), dim);
    auto v = g.linear(stream, "wv" + s, kv, "bv" + s);
    g.append(k, v);
    auto y = g.endLayers(g.add(stream, g.attention(q)));
    const Matrix attended =
        attention(rope(linear(x, wq, bq), dim), rope(linear(x, wk, bk), dim),
                  linear(x, wv, bv), dim);
    check(g.finish(g.selectOutputs(y)), sum(x, attended), 1e-5);
  }
}

SPUTNIK_INSTANTIATE_KERNELS(AttentionTest);

class AttentionTargetTest : public AttentionTest {};
TEST_P(AttentionTargetTest, Group3Dim80) { checkHeads(2, 3, 80, 150); }
TEST_P(AttentionTargetTest, Group7Dim128) { checkHeads(1, 7, 128, 70); }
SPUTNIK_INSTANTIATE_TARGETS(AttentionTargetTest);

} // namespace
} // namespace sputnik::testing
