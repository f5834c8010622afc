//===- FloatPanels.cpp - Matrices made and multiplied in scratch ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/FloatPanels.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// Lines that one turn of the inner loop multiplies.
static constexpr int64_t kLines = 4;

DotPrimitive FloatPanels::chooseDot(r1::TargetAttr target, bool narrow) {
  MLIRContext *context = target.getContext();
  if (narrow) {
    FailureOr<DotPrimitive> pairs = DotPrimitive::get(
        r1::EncodingAttr::get(context, r1::Scheme::BF16, kPanel, /*step=*/2),
        BFloat16Type::get(context), target);
    if (succeeded(pairs))
      return *pairs;
  }
  return *DotPrimitive::get(
      r1::EncodingAttr::get(context, r1::Scheme::F32, kPanel, /*step=*/1),
      Float32Type::get(context), target);
}

FloatPanels::FloatPanels(Phase &p, bool narrow)
    : p(p), dot(chooseDot(p.target, narrow)) {}

Type FloatPanels::getElement() const {
  return getStep() == 2 ? Type(p.b.getBF16Type()) : p.f32Type();
}

int64_t FloatPanels::getPanelBytes(int64_t columns) const {
  return llvm::divideCeil(columns, getStep()) * 64;
}

int64_t FloatPanels::getRowBytes(int64_t columns) const {
  return llvm::alignTo(columns * p.bytesOf(getElement()), 64);
}

Tile FloatPanels::getTile() const {
  return chooseTile(p.target, r1::PhaseKind::Prefill, /*blocks=*/false);
}

void FloatPanels::storeLine(Value panel, Value column,
                            ValueRange columns) const {
  Value at = p.at(panel, p.mul(p.div(column, getStep()), 64));
  if (getStep() == 1)
    return p.store(columns.front(), at, 64);
  Type narrow = p.vecType(kPanel, getElement());
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
  p.storeFromF32(values, getElement(),
                 p.at(row, p.mul(column, p.bytesOf(getElement()))));
}

/// The first `exist` of as many values as `type` has lanes; zeros behind.
static Value loadSome(Phase &p, VectorType type, Value ptr, int64_t exist) {
  unsigned align = type.getElementTypeBitWidth() / 8;
  if (exist >= type.getNumElements())
    return p.load(type, ptr, align);
  SmallVector<bool> lanes(type.getNumElements());
  std::fill_n(lanes.begin(), exist, true);
  Value mask = arith::ConstantOp::create(
      p.b, p.loc,
      DenseElementsAttr::get(p.vecType(type.getNumElements(), p.b.getI1Type()),
                             ArrayRef(lanes)));
  return LLVM::MaskedLoadOp::create(p.b, p.loc, type, ptr, mask,
                                    p.splat(type, 0), align);
}

/// 16 vectors of 16 words, with rows and columns exchanged: in each step blocks
/// off the diagonal change places, of 1, 2, 4 and 8 words.
static void transpose(Phase &p, MutableArrayRef<Value> rows) {
  constexpr int64_t size = FloatPanels::kPanel;
  for (int64_t block = 1; block < size; block *= 2) {
    SmallVector<int64_t> upper, lower;
    for (int64_t lane = 0; lane < size; ++lane) {
      bool right = lane & block;
      upper.push_back(right ? size + lane - block : lane);
      lower.push_back(right ? size + lane : lane + block);
    }
    for (int64_t row = 0; row < size; ++row)
      if (!(row & block)) {
        Value a = rows[row], c = rows[row + block];
        rows[row] = vector::ShuffleOp::create(p.b, p.loc, a, c, upper);
        rows[row + block] = vector::ShuffleOp::create(p.b, p.loc, a, c, lower);
      }
  }
}

void FloatPanels::packRows(Value panel, Value from, int64_t stride,
                           int64_t columns) const {
  Type integer = p.b.getIntegerType(32 / getStep());
  auto pack = [&](Value line, int64_t exist) {
    SmallVector<Value> words;
    for (int64_t row = 0; row < kPanel; ++row) {
      Value at = p.at(p.at(from, row * stride), p.mul(line, 4));
      words.push_back(LLVM::BitcastOp::create(
          p.b, p.loc, p.vecType(kPanel, p.b.getI32Type()),
          loadSome(p, p.vecType(kPanel * getStep(), integer), at, exist)));
    }
    transpose(p, words);
    int64_t lines = llvm::divideCeil(std::min(exist, kPanel * getStep()),
                                     getStep());
    for (int64_t i = 0; i < lines; ++i)
      p.store(words[i], p.at(panel, p.mul(p.add(line, i), 64)), 64);
  };
  int64_t whole = columns / (kPanel * getStep()) * kPanel;
  p.loop(p.i64(0), p.i64(whole), kPanel,
         [&](Value line) { pack(line, kPanel * getStep()); });
  if (int64_t rest = columns - whole * getStep())
    pack(p.i64(whole), rest);
}

void FloatPanels::packColumns(Value panels, int64_t panelBytes, Value column,
                              Value from, int64_t stride,
                              int64_t rows) const {
  Type integer = p.b.getIntegerType(32 / getStep());
  Type words = p.vecType(kPanel, p.b.getI32Type());
  Value firstLine = p.mul(p.div(column, getStep()), 64);
  auto pack = [&](Value panel, int64_t exist) {
    Value to = p.at(p.at(panels, p.mul(panel, panelBytes)), firstLine);
    Value own = p.at(from, p.mul(panel, kPanel * 4 / getStep()));
    auto load = [&](int64_t i) {
      return loadSome(p, p.vecType(kPanel, integer), p.at(own, i * stride),
                      exist);
    };
    for (int64_t i = 0; i < kPanel; i += getStep()) {
      Value line = load(i);
      if (getStep() == 2) {
        Value odd = arith::ShLIOp::create(
            p.b, p.loc, arith::ExtUIOp::create(p.b, p.loc, words, load(i + 1)),
            p.splat(words, 16));
        line = arith::OrIOp::create(
            p.b, p.loc, arith::ExtUIOp::create(p.b, p.loc, words, line), odd);
      }
      p.store(line, p.at(to, i / getStep() * 64), 64);
    }
  };
  int64_t whole = rows / kPanel;
  p.loop(p.i64(0), p.i64(whole), 1, [&](Value panel) { pack(panel, kPanel); });
  if (int64_t rest = rows % kPanel)
    pack(p.i64(whole), rest);
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
