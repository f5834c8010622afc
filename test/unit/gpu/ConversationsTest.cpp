//===- ConversationsTest.cpp - Rows of several slots in one step ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/gpu/EmulatedGraph.h"
#include "test/unit/kernels/AttentionFixture.h"

namespace sputnik::testing {
namespace {

class ConversationsTest : public AttentionFixture {
protected:
  /// Tokens [begin, end) of a conversation.
  struct Piece {
    int32_t conversation;
    int64_t begin, end;
  };
  using Steps = std::vector<std::vector<Piece>>;

  /// Prefill of conversations with that many tokens in some steps.
  void checkSteps(int64_t kvHeads, int64_t group, int64_t dim,
                  const std::vector<int64_t> &lengths, const Steps &steps,
                  double tolerance = 4e-3) {
    int64_t tokens = 0;
    std::vector<int64_t> first;
    for (int64_t length : lengths) {
      first.push_back(tokens);
      tokens += length;
    }
    const int64_t width = kvHeads * dim;
    const Matrix q = tensor("q", tokens, group * width, 2);
    const Matrix k = tensor("k", tokens, width), v = tensor("v", tokens, width);
    addNegated("minus_q", q);
    GraphText g = graph({kvHeads, dim, 1104, "bf16"});
    auto query = g.embed("q", tokens, group * width);
    auto keys = g.embed("k", tokens, width);
    auto values = g.embed("v", tokens, width);
    auto stream = g.beginLayers(query);
    g.append(keys, values);
    auto y = attend(g, stream, tokens);
    std::vector<Matrix> expected;
    for (auto [c, length] : llvm::enumerate(lengths))
      expected.push_back(attention(part(q, first[c], length),
                                   part(k, first[c], length),
                                   part(v, first[c], length), dim));

    mlir::OwningOpRef<mlir::ModuleOp> module =
        parse(g.finish(g.selectOutputs(y)));
    ASSERT_TRUE(module);
    EmulatedGraph::Options options;
    options.scheme = scheme();
    options.chip = target();
    auto graph = EmulatedGraph::create(*module, options);
    ASSERT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
    MemorySink sink((*graph)->weightBytes());
    llvm::Expected<ContentId> id = writeWeights(*module, *checkpoint, sink);
    ASSERT_TRUE(static_cast<bool>(id)) << toString(id.takeError());
    for (uint64_t seed : {1, 1000}) {
      (*graph)->reset(seed, static_cast<int64_t>(lengths.size()));
      for (const std::vector<Piece> &step : steps) {
        StepRows rows;
        Matrix wanted(0, group * width);
        for (const Piece &piece : step)
          for (int64_t at = piece.begin; at < piece.end; ++at) {
            rows.outputs.push_back(static_cast<int32_t>(rows.tokens.size()));
            rows.tokens.push_back(
                static_cast<int32_t>(first[piece.conversation] + at));
            rows.slots.push_back(piece.conversation);
            rows.positions.push_back(static_cast<int32_t>(at));
            for (int64_t i = 0; i < wanted.columns; ++i)
              wanted.values.push_back(expected[piece.conversation].at(at, i));
            ++wanted.rows;
          }
        std::vector<float> found(wanted.values.size());
        llvm::Error error = (*graph)->run(r1::kPrefill, rows,
                                          sink.image, found.data());
        ASSERT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
        expectNear(found, wanted, tolerance);
      }
    }
  }

private:
  static Matrix part(const Matrix &x, int64_t first, int64_t count) {
    Matrix rows(count, x.columns);
    std::copy_n(x.values.begin() + first * x.columns, count * x.columns,
                rows.values.begin());
    return rows;
  }
};

TEST_P(ConversationsTest, TilesHaveRowsOfSeveral) {
  checkSteps(1, 7, 128, {170, 300, 9},
             {{{0, 0, 30}, {2, 0, 9}, {1, 0, 20}, {0, 30, 37}},
              {{1, 20, 260}},
              {{1, 260, 300}, {0, 37, 170}}});
}
TEST_P(ConversationsTest, SmallHeadsOfOneGroup) {
  checkSteps(2, 1, 48, {40, 200},
             {{{1, 0, 199}}, {{0, 0, 40}, {1, 199, 200}}});
}
TEST_P(ConversationsTest, LongContexts) {
  // Many tiles of positions, whose places in shared memory come again; weighted
  // sums of so many are small beside the errors of their weights.
  checkSteps(1, 1, 16, {1100, 700},
             {{{0, 0, 256}},
              {{0, 256, 512}},
              {{0, 512, 700}, {1, 0, 60}},
              {{1, 60, 316}},
              {{1, 316, 572}},
              {{0, 700, 880}, {1, 572, 640}},
              {{0, 880, 1040}, {1, 640, 700}},
              {{0, 1040, 1100}}},
             8e-3);
}

INSTANTIATE_TEST_SUITE_P(
    Chips, ConversationsTest,
    ::testing::Combine(::testing::Values(r1::Scheme::BF16),
                       ::testing::Values(3),
                       ::testing::Values("sm_80", "sm_90a")),
    kernelParamName);

} // namespace
} // namespace sputnik::testing
