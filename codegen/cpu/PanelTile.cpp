//===- PanelTile.cpp - Panels times rows in registers ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/PanelTile.h"

#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = DotPrimitive::kPanel;

Tile sputnik::cpu::chooseTile(r1::TargetAttr target, r1::PhaseKind phase, bool blocks) {
  // A sum of 16 rows takes 512 / vector_bits registers.
  int64_t perSum = std::max<int64_t>(1, 512 / target.getVectorBits());
  int64_t sums = target.getVectorRegisters() / perSum;
  // Blocks have partial sums beside the sums.
  if (blocks && phase != r1::PhaseKind::Decode)
    return sums >= 32 ? Tile{2, phase == r1::PhaseKind::Prefill ? 6 : 4}
                      : Tile{1, std::max<int64_t>(2, sums / 4)};
  if (phase == r1::PhaseKind::Decode)
    return {std::max<int64_t>(1, sums / 4), 1};
  if (sums >= 32)
    return phase == r1::PhaseKind::Prefill ? Tile{4, 6} : Tile{4, 4};
  return {1, std::max<int64_t>(2, sums / 2)};
}

TileSums sputnik::cpu::emitPanelTile(Emit &e, const DotPrimitive &dot,
                                     int64_t columns,
                                     ArrayRef<Value> panelAddresses,
                                     ArrayRef<DotPrimitive::Row> rows) {
  int64_t panelCount = panelAddresses.size(), rowCount = rows.size();
  SmallVector<DotPrimitive::Panel> panels;
  for (Value address : panelAddresses)
    panels.push_back(dot.panelAt(e, address, columns));

  // One chunk, of which `width` columns exist.
  auto multiply = [&](Value chunk, int64_t width, ValueRange sums) {
    SmallVector<Value> partial;
    for (int64_t i = 0; i < panelCount; ++i)
      for (int64_t t = 0; t < rowCount; ++t)
        partial.push_back(
            dot.begin(e, panels[i], rows[t], chunk, sums[i * rowCount + t]));
    for (int64_t line = 0; line * dot.getLine() < width; ++line) {
      int64_t exist = std::min(width - line * dot.getLine(), dot.getLine());
      SmallVector<DotPrimitive::Operand> x;
      for (const DotPrimitive::Row &row : rows)
        x.push_back(dot.loadActivations(e, row, chunk, line, exist));
      for (int64_t i = 0; i < panelCount; ++i) {
        DotPrimitive::Operand w = dot.loadWeights(e, panels[i], chunk, line);
        for (int64_t t = 0; t < rowCount; ++t) {
          Value &sum = partial[i * rowCount + t];
          sum = dot.dot(e, w, x[t], sum);
        }
      }
    }
    SmallVector<Value> next;
    for (int64_t i = 0; i < panelCount; ++i) {
      Value scales = dot.loadScales(e, panels[i], chunk);
      for (int64_t t = 0; t < rowCount; ++t)
        next.push_back(dot.finish(e, partial[i * rowCount + t], scales,
                                  dot.loadScale(e, rows[t], chunk),
                                  sums[i * rowCount + t]));
    }
    return next;
  };
  SmallVector<Value> sums(panelCount * rowCount,
                          e.splat(e.f32Vec(kPanel), 0.0));
  int64_t chunks = columns / dot.getChunk();
  if (chunks)
    sums = e.loop(e.i64(0), e.i64(chunks), 1, sums,
                  [&](Value chunk, ValueRange carried) {
                    return multiply(chunk, dot.getChunk(), carried);
                  });
  if (int64_t rest = columns % dot.getChunk())
    sums = multiply(e.i64(chunks), rest, sums);
  TileSums result(panelCount);
  for (int64_t i = 0; i < panelCount; ++i)
    for (int64_t t = 0; t < rowCount; ++t)
      result[i].push_back(
          dot.scaleRows(e, panels[i], sums[i * rowCount + t]));
  return result;
}

Value sputnik::cpu::laneIndices(Emit &e) {
  SmallVector<int32_t> lanes(kPanel);
  std::iota(lanes.begin(), lanes.end(), 0);
  Type words = e.vecType(kPanel, e.b.getI32Type());
  return arith::ConstantOp::create(
      e.b, e.loc,
      DenseElementsAttr::get(cast<VectorType>(words), ArrayRef(lanes)));
}

void sputnik::cpu::storeLanes(Emit &e, Value value, Value ptr, Value count) {
  Value left =
      arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), count);
  Value mask = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::slt,
                                     laneIndices(e),
                                     e.broadcast(left, kPanel));
  LLVM::MaskedStoreOp::create(e.b, e.loc, value, ptr, mask, 4);
}
