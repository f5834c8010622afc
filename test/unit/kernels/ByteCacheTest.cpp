//===- ByteCacheTest.cpp - Attention over bytes against float64 -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/AttentionFixture.h"

namespace sputnik::testing {
namespace {

class ByteCacheTest : public AttentionFixture {
protected:
  /// `group` values of each head rounded together.
  static Matrix roundedHeads(Matrix x, int64_t dim, int64_t group) {
    const int64_t rows = x.rows, columns = x.columns;
    x.rows = rows * columns / dim;
    x.columns = dim;
    x = roundedToI8(std::move(x), group);
    x.rows = rows;
    x.columns = columns;
    return x;
  }

  /// Contexts of 1 to `rows` positions; queries, keys and values from tables.
  /// Queries are rounded like keys where the machine multiplies bytes; in prefill,
  /// where it rounds for attention, they, keys and values are to bf16.
  void checkBytes(int64_t kvHeads, int64_t group, int64_t dim, int64_t rows) {
    const int64_t width = kvHeads * dim;
    const Matrix q = tensor("q", rows, group * width, 2);
    const Matrix k = tensor("k", rows, width), v = tensor("v", rows, width);
    addNegated("minus_q", q);
    GraphText g = graph({kvHeads, dim, 1040, "i8"});
    auto query = g.embed("q", rows, group * width);
    auto keys = g.embed("k", rows, width), values = g.embed("v", rows, width);
    auto stream = g.beginLayers(query);
    g.append(keys, values);
    auto y = attend(g, stream, rows);
    const bool rounds = optLevel() > 0 && multipliesBytes();
    const auto expected = [&](bool roundsQueries) {
      return attention(roundsQueries ? roundedHeads(q, dim, r1::kQuantBlock)
                                     : q,
                       roundedHeads(k, dim, r1::kQuantBlock),
                       roundedHeads(v, dim, dim), dim);
    };
    check(g.finish(g.selectOutputs(y)), expected(rounds),
          expected(rounds && !roundsAttention()), 1e-5,
          roundsAttention() ? 2e-2 : 1e-5);
  }
};

TEST_P(ByteCacheTest, Group1Dim64) { checkBytes(2, 1, 64, 300); }
TEST_P(ByteCacheTest, Group3Dim80) { checkBytes(3, 3, 80, 300); }
TEST_P(ByteCacheTest, Group6Dim128) { checkBytes(1, 6, 128, 300); }
TEST_P(ByteCacheTest, Group7Dim16) { checkBytes(1, 7, 16, 70); }

SPUTNIK_INSTANTIATE_KERNELS(ByteCacheTest);

} // namespace
} // namespace sputnik::testing
