//===- HeadMatrices.cpp - A weight that holds a matrix per head -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/HeadMatrices.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = DotPrimitive::kPanel;

HeadMatrices::HeadMatrices(Phase &p, r1::LatentAttentionOp op,
                           FlatSymbolRefAttr name)
    : type(r1::lookupWeightType(op, name)), encoding(r1::getEncoding(type)),
      columns(type.getDimSize(1)), rows(type.getDimSize(0) / op.getHeads()),
      base(p.weightPtr(op, name, op.getLayer())) {}

void HeadMatrices::prepare(Phase &p, Type wanted) {
  element = wanted;
  FailureOr<DotPrimitive> found =
      DotPrimitive::get(encoding, wanted, p.target);
  if (failed(found)) {
    element = p.f32Type();
    found = DotPrimitive::get(encoding, element, p.target);
  }
  dot = *found;
  dot->prepare(p);
}

SmallVector<Value> HeadMatrices::panelsAt(Phase &p, Value head, Value panel,
                                          int64_t count) const {
  Value first = p.add(p.mul(head, rows / kPanel), panel);
  int64_t bytes = encoding.getPanelBytes(columns);
  SmallVector<Value> panels;
  for (int64_t i = 0; i < count; ++i)
    panels.push_back(p.at(base, p.mul(p.add(first, i), bytes)));
  return panels;
}

void HeadMatrices::multiply(
    Phase &p, Value head, int64_t features, int64_t panelsAtOnce,
    ArrayRef<Value> inputs,
    function_ref<void(Value, const TileSums &)> body) const {
  SmallVector<DotPrimitive::Row> inputRows;
  for (Value input : inputs)
    inputRows.push_back(dot->rowAt(p, input, columns));
  int64_t panels = llvm::divideCeil(features, kPanel);
  auto tiles = [&](int64_t first, int64_t last, int64_t count) {
    p.loop(p.i64(first), p.i64(last), count, [&](Value panel) {
      body(panel, emitPanelTile(p, *dot, columns,
                                panelsAt(p, head, panel, count), inputRows,
                                /*streams=*/inputRows.size() == 1));
    });
  };
  int64_t whole = panels / panelsAtOnce * panelsAtOnce;
  tiles(0, whole, panelsAtOnce);
  tiles(whole, panels, 1);
}
