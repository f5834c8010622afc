//===- Nibbles.cpp - Weights of 4 bits in registers -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Nibbles.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// Words of a line.
static constexpr int64_t kWords = 16;

int64_t Nibbles::valueOf(int64_t nibble) const {
  return scheme == r1::Scheme::Q4 ? r1::kQ4Table[nibble] : nibble - 8;
}

void Nibbles::prepare(Emit &e, const ByteDot &dot, int64_t offset) {
  // Left to itself, LLVM would load these constants again at every use.
  int64_t size = dot.getRegisterBytes();
  SmallVector<int8_t> values;
  for (int64_t i = 0; i < size; ++i)
    values.push_back(static_cast<int8_t>(valueOf(i % 16) + offset));
  table = e.pin(arith::ConstantOp::create(
      e.b, e.loc,
      DenseElementsAttr::get(e.vecType(size, e.b.getI8Type()),
                             ArrayRef(values))));
  mask = nullptr;
  if (dot.ignoresUpperBits())
    return;
  Value part = e.pin(e.splat(e.vecType(size / 4, e.b.getI32Type()), 0x0f0f0f0f));
  mask = e.join(SmallVector<Value>(4 * kWords / size, part));
}

/// The line itself, and its upper nibbles moved down: with `mask`, a nibble in
/// each byte.
static std::pair<Value, Value> splitLine(Emit &e, Value line, Value mask) {
  Value low = line;
  Value high = arith::ShRUIOp::create(e.b, e.loc, line,
                                      e.splat(line.getType(), 4));
  if (!mask)
    return {low, high};
  return {arith::AndIOp::create(e.b, e.loc, low, mask),
          arith::AndIOp::create(e.b, e.loc, high, mask)};
}

SmallVector<Value, 4> Nibbles::bytes(Emit &e, const ByteDot &dot,
                                     Value line) const {
  assert(table && "prepared before the loops");
  auto [low, high] = splitLine(e, line, mask);
  return {dot.lookUp(e, table, low), dot.lookUp(e, table, high)};
}

SmallVector<Value, 4> Nibbles::floats(Emit &e, Value line, Value shift) const {
  Type words = line.getType();
  VectorType floats = e.f32Vec(kWords);
  auto [low, high] = splitLine(e, line, e.splat(words, 0x0f0f0f0f));
  SmallVector<Value, 4> columns;
  for (Value nibbles : {low, high})
    for (int64_t i = 0; i < 4; ++i) {
      Value index = arith::AndIOp::create(
          e.b, e.loc,
          arith::ShRUIOp::create(e.b, e.loc, nibbles, e.splat(words, 8 * i)),
          e.splat(words, 15));
      if (scheme == r1::Scheme::Q4Plain) {
        columns.push_back(arith::SIToFPOp::create(
            e.b, e.loc, floats,
            arith::SubIOp::create(e.b, e.loc, index, e.splat(words, 8))));
        continue;
      }
      // Without a byte shuffle of this width: selects by the bits of the index,
      // a tree of 15 blends of constants.
      SmallVector<Value> level;
      for (int64_t nibble = 0; nibble < 16; ++nibble)
        level.push_back(
            e.splat(floats, static_cast<double>(valueOf(nibble))));
      for (int64_t bit = 0; bit < 4; ++bit) {
        Value set = arith::CmpIOp::create(
            e.b, e.loc, arith::CmpIPredicate::ne,
            arith::AndIOp::create(e.b, e.loc, index,
                                  e.splat(words, 1 << bit)),
            e.splat(words, 0));
        SmallVector<Value> next;
        for (size_t j = 0; j < level.size(); j += 2)
          next.push_back(arith::SelectOp::create(e.b, e.loc, set, level[j + 1],
                                                 level[j]));
        level = next;
      }
      columns.push_back(shift ? e.addf(level[0], shift) : level[0]);
    }
  return columns;
}
