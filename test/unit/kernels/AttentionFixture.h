//===- AttentionFixture.h - Graphs around one attention ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_KERNELS_ATTENTIONFIXTURE_H
#define SPUTNIK_TEST_UNIT_KERNELS_ATTENTIONFIXTURE_H

#include "test/unit/kernels/KernelFixture.h"

namespace sputnik::testing {

class AttentionFixture : public KernelFixture {
protected:
  /// A loop over layers adds to its stream: this table takes the queries, which
  /// are the stream, away again.
  void addNegated(const std::string &name, Matrix q) {
    for (double &value : q.values)
      value = -value;
    add(name, "F32", {q.rows, q.columns},
        std::vector<float>(q.values.begin(), q.values.end()));
  }
  GraphText::Rows attend(GraphText &g, const GraphText::Rows &stream,
                         int64_t rows) {
    auto y = g.endLayers(g.add(stream, g.attention(stream)));
    return g.add(y, g.embed("minus_q", rows, stream.features));
  }
};

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_KERNELS_ATTENTIONFIXTURE_H
