//===- LatentAttentionTest.cpp - Latents against float64 ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Decode and verify take the absorbed form, prefill the expanded one where that
// pays: both are compared with the definition, and so with each other.
//
//===----------------------------------------------------------------------===//
#include "test/unit/kernels/KernelFixture.h"

#include <cmath>

namespace sputnik::testing {
namespace {

struct Shape {
  int64_t heads, key, rotary, value, latent;
};

/// Row r sees rows 0..r; keys and values of all heads are formed.
Matrix latentAttention(const Shape &s, const Matrix &query,
                       const Matrix &rotary, const Matrix &latent,
                       const Matrix &key, const Matrix &wk, const Matrix &wv) {
  const Matrix keys = linear(latent, wk), values = linear(latent, wv);
  const double scale = 1 / std::sqrt(static_cast<double>(s.key + s.rotary));
  Matrix result(query.rows, s.heads * s.value);
  for (int64_t row = 0; row < query.rows; ++row)
    for (int64_t h = 0; h < s.heads; ++h) {
      std::vector<double> weights;
      double peak = -INFINITY, total = 0;
      for (int64_t t = 0; t <= row; ++t) {
        double score = 0;
        for (int64_t d = 0; d < s.key; ++d)
          score += query.at(row, h * s.key + d) * keys.at(t, h * s.key + d);
        for (int64_t d = 0; d < s.rotary; ++d)
          score += rotary.at(row, h * s.rotary + d) * key.at(t, d);
        weights.push_back(score * scale);
        peak = std::max(peak, weights.back());
      }
      for (double &weight : weights)
        total += weight = std::exp(weight - peak);
      for (int64_t t = 0; t <= row; ++t)
        for (int64_t d = 0; d < s.value; ++d)
          result.at(row, h * s.value + d) +=
              weights[t] / total * values.at(t, h * s.value + d);
    }
  return result;
}

class LatentAttentionTest : public KernelFixture {
protected:
  void checkShape(const Shape &s, int64_t rows, bool onTensorCores = false,
                  int64_t positions = 0) {
    const int64_t width = s.heads * s.value;
    const double deviation = 1 / std::sqrt(static_cast<double>(s.latent));
    const Matrix query = table("query", rows, s.heads * s.key, 2);
    const Matrix rotary = table("rotary", rows, s.heads * s.rotary, 2);
    const Matrix latent = table("latent", rows, s.latent);
    const Matrix key = table("key", rows, s.rotary);
    const Matrix wk = tensor("wk", s.heads * s.key, s.latent, deviation);
    const Matrix wv = tensor("wv", s.heads * s.value, s.latent, deviation);
    // A loop over layers adds to its stream.
    add("zero", "F32", {rows, width},
        std::vector<float>(static_cast<size_t>(rows * width)));
    const bool narrow = scheme() == r1::Scheme::BF16;
    GraphText g = graph({1, s.latent + s.rotary,
                         std::max(positions, (rows + 15) / 16 * 16),
                         narrow ? "bf16" : "f32", s.latent});
    auto q = g.embed("query", rows, s.heads * s.key);
    auto r = g.embed("rotary", rows, s.heads * s.rotary);
    auto c = g.embed("latent", rows, s.latent);
    auto k = g.embed("key", rows, s.rotary);
    auto stream = g.beginLayers(g.embed("zero", rows, width));
    g.appendLatent(c, k);
    auto y = g.latentAttention(q, r, "wk", "wv", s.value);
    auto out = g.endLayers(g.add(stream, y));
    check(g.finish(g.selectOutputs(out)),
          latentAttention(s, query, rotary, latent, key, wk, wv),
          // Queries and weights are rounded to bf16 there.
          narrow && roundsAttention() && onTensorCores ? 8e-3 : 2e-5);
  }
};

TEST_P(LatentAttentionTest, SmallHeads) {
  checkShape({3, 20, 12, 28, 24}, 90);
}
TEST_P(LatentAttentionTest, OddSizes) { checkShape({5, 7, 6, 9, 11}, 70); }
TEST_P(LatentAttentionTest, MoreHeadsThanLanes) {
  checkShape({19, 16, 8, 16, 32}, 70);
}
TEST_P(LatentAttentionTest, WideLatent) {
  checkShape({2, 32, 16, 32, 256}, 130);
}

// Enough heads, of whole tiles, for tensor cores.
TEST_P(LatentAttentionTest, ManyHeads) {
  checkShape({18, 16, 16, 20, 64}, 90, /*onTensorCores=*/true);
}
TEST_P(LatentAttentionTest, TwoBlocksOfHeads) {
  checkShape({66, 8, 16, 8, 144}, 31, /*onTensorCores=*/true);
}
TEST_P(LatentAttentionTest, SharedPositions) {
  checkShape({16, 8, 16, 8, 32}, 68, /*onTensorCores=*/true, 512);
}

// From 11 rows on, or 8, the expanded form takes fewer multiply-adds: prefill runs
// in that, and decode and verify absorbed, both against one reference.
TEST_P(LatentAttentionTest, BothForms) {
  checkShape({3, 8, 4, 8, 40}, 90);
}
TEST_P(LatentAttentionTest, BothFormsOfOddSizes) {
  checkShape({18, 5, 6, 9, 150}, 75);
}

SPUTNIK_INSTANTIATE_KERNELS(LatentAttentionTest);

} // namespace
} // namespace sputnik::testing
