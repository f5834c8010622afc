//===- FloatPanels.cpp - Matrices made and multiplied in scratch ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/FloatPanels.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// Lines that one turn of the inner loop multiplies.
static constexpr int64_t kLines = 4;

static DotPrimitive choosePrimitive(Phase &p, bool narrow) {
  MLIRContext *context = p.b.getContext();
  if (narrow) {
    FailureOr<DotPrimitive> pairs = DotPrimitive::get(
        r1::EncodingAttr::get(context, r1::Scheme::BF16, FloatPanels::kPanel,
                              /*step=*/2),
        p.b.getBF16Type(), p.target);
    if (succeeded(pairs))
      return *pairs;
  }
  return *DotPrimitive::get(r1::EncodingAttr::get(context, r1::Scheme::F32,
                                                  FloatPanels::kPanel,
                                                  /*step=*/1),
                            p.f32Type(), p.target);
}

FloatPanels::FloatPanels(Phase &p, bool narrow)
    : p(p), dot(choosePrimitive(p, narrow)) {}

Type FloatPanels::element() const {
  return getStep() == 2 ? Type(p.b.getBF16Type()) : p.f32Type();
}

int64_t FloatPanels::getPanelBytes(int64_t columns) const {
  return llvm::divideCeil(columns, getStep()) * 64;
}

int64_t FloatPanels::getRowBytes(int64_t columns) const {
  return llvm::alignTo(columns * p.bytesOf(element()), 64);
}

Tile FloatPanels::getTile() const {
  return chooseTile(p.target, r1::PhaseKind::Prefill, /*blocks=*/false);
}

void FloatPanels::storeLine(Value panel, Value column,
                            ValueRange columns) const {
  Value at = p.at(panel, p.mul(p.div(column, getStep()), 64));
  if (getStep() == 1)
    return p.store(columns.front(), at, 64);
  Type narrow = p.vecType(kPanel, element());
  Type halves = p.vecType(kPanel, p.b.getI16Type());
  Type words = p.vecType(kPanel, p.b.getI32Type());
  auto bits = [&](Value x) -> Value {
    Value rounded = arith::TruncFOp::create(p.b, p.loc, narrow, x);
    return arith::ExtUIOp::create(
        p.b, p.loc, words,
        arith::BitcastOp::create(p.b, p.loc, halves, rounded));
  };
  // A pair is one word: the even column below, the odd one above.
  Value odd = arith::ShLIOp::create(p.b, p.loc, bits(columns[1]),
                                    p.splat(words, 16));
  p.store(arith::OrIOp::create(p.b, p.loc, bits(columns[0]), odd), at, 64);
}

void FloatPanels::storeRow(Value row, Value column, Value values) const {
  p.storeFromF32(values, element(),
                 p.at(row, p.mul(column, p.bytesOf(element()))));
}

static PanelGroup panelsAt(Phase &p, const DotPrimitive &dot,
                           ArrayRef<Value> addresses) {
  PanelGroup group{dot, {}};
  for (Value address : addresses)
    group.panels.push_back(dot.panelAt(p, address, /*columns=*/0));
  return group;
}

SmallVector<Value> FloatPanels::multiply(ArrayRef<Value> panels,
                                         ArrayRef<Value> rows, Value columns,
                                         ValueRange sums) const {
  PanelGroup group = panelsAt(p, dot, panels);
  SmallVector<DotPrimitive::Row> operands;
  for (Value row : rows)
    operands.push_back(dot.rowAt(p, row, /*columns=*/0));
  return p.loop(p.i64(0), p.div(columns, getStep()), kLines, sums,
                [&](Value line, ValueRange carried) {
                  return multiplyGroup(p, group, operands, line,
                                       kLines * getStep(), carried);
                });
}

SmallVector<Value> FloatPanels::multiply(ArrayRef<Value> panels,
                                         ArrayRef<Value> rows, int64_t columns,
                                         ValueRange sums) const {
  int64_t wide = kLines * getStep(), whole = columns / wide * wide;
  SmallVector<Value> result = multiply(panels, rows, p.i64(whole), sums);
  if (whole == columns)
    return result;
  SmallVector<DotPrimitive::Row> operands;
  for (Value row : rows)
    operands.push_back(dot.rowAt(p, row, columns));
  return multiplyGroup(p, panelsAt(p, dot, panels), operands,
                       p.i64(whole / getStep()), columns - whole, result);
}
