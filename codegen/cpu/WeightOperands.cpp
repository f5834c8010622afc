//===- WeightOperands.cpp - Weights for the inner product -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How DotPrimitive makes operands of packed weights, in registers or, for many
// rows, in memory.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/DotPrimitive.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = DotPrimitive::kPanel;

/// Byte `index` of each word, sign-extended.
static Value signedByte(Emit &e, Value words, int64_t index) {
  Type type = words.getType();
  Value high = index == 3 ? words
                          : Value(arith::ShLIOp::create(
                                e.b, e.loc, words,
                                e.splat(type, 24 - 8 * index)));
  return arith::ShRSIOp::create(e.b, e.loc, high, e.splat(type, 24));
}

/// 64 bytes as 16 words, and back.
static Value asWords(Emit &e, Value v) {
  return LLVM::BitcastOp::create(e.b, e.loc,
                                 e.vecType(kPanel, e.b.getI32Type()), v);
}
static Value asBytes(Emit &e, Value v) {
  return LLVM::BitcastOp::create(e.b, e.loc,
                                 e.vecType(4 * kPanel, e.b.getI8Type()), v);
}

Value DotPrimitive::isOdd(Emit &e, Value words) {
  Value bit = arith::AndIOp::create(e.b, e.loc, words,
                                    e.splat(words.getType(), 1));
  return arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ne, bit,
                               e.splat(words.getType(), 0));
}

Value DotPrimitive::loadSteps(Emit &e, const Panel &panel, Chunk chunk) const {
  Value bytes = e.load(e.vecType(kPanel, e.b.getI8Type()),
                       scalesAt(e, panel, chunk), kPanel);
  return arith::ExtSIOp::create(e.b, e.loc,
                                e.vecType(kPanel, e.b.getI32Type()), bytes);
}

/// Operands of FMA from words of four signed bytes: four columns as f32.
DotPrimitive::Operand DotPrimitive::unpackBytes(Emit &e, Value words) const {
  Operand columns;
  for (int64_t i = 0; i < 4; ++i)
    columns.push_back(arith::SIToFPOp::create(e.b, e.loc, e.f32Vec(kPanel),
                                              signedByte(e, words, i)));
  return columns;
}

DotPrimitive::Operand DotPrimitive::loadWeights(Emit &e, const Panel &panel,
                                                Chunk chunk,
                                                int64_t line) const {
  if (unpacked) {
    int64_t size = getUnpackedChunkBytes() / getChunk() * getLine();
    Type type = kind == Kind::BF16Dot
                    ? e.vecType(size / 2, e.b.getBF16Type())
                    : e.vecType(size / 4, e.b.getI32Type());
    return {e.load(type, e.at(quantsAt(e, panel, chunk), line * size), 64)};
  }
  Value address = e.at(quantsAt(e, panel, chunk), line * 64);
  Type words = e.vecType(kPanel, e.b.getI32Type());
  if (encoding.getScheme() == r1::Scheme::F32)
    return {e.load(e.f32Vec(kPanel), address, 64)};
  if (kind == Kind::BF16Dot && !isFloat8())
    return {e.load(e.vecType(2 * kPanel, e.b.getBF16Type()), address, 64)};
  Value loaded = e.load(words, address, 64);
  if (isFloat8())
    return kind == Kind::BF16Dot ? float8.pairs(e, loaded)
                                 : float8.floats(e, loaded);
  if (encoding.getScheme() == r1::Scheme::BF16) {
    auto [even, odd] = widenPairs(e, loaded);
    return {even, odd};
  }
  bool integer = kind == Kind::Int8Dot;
  if (!isNibbles()) {
    if (!integer)
      return unpackBytes(e, loaded);
    if (!bytes->getWeightOffset())
      return {loaded};
    // Weights are moved up by 128, which the activations' corrections take back.
    return {arith::XOrIOp::create(e.b, e.loc, loaded,
                                  e.splat(words, int32_t(0x80808080)))};
  }
  Value shift;
  if (hasTwoTables() && (movesWeights || !integer))
    shift = arith::SelectOp::create(
        e.b, e.loc, isOdd(e, loadSteps(e, panel, chunk)),
        e.splat(words, r1::kQ4Shift * 0x01010101), e.splat(words, 0));
  if (!bytes) {
    if (shift) // The same number, from the lowest byte of each word.
      shift = arith::SIToFPOp::create(e.b, e.loc, e.f32Vec(kPanel),
                                      signedByte(e, shift, 0));
    return nibbles.floats(e, loaded, shift);
  }
  Operand result;
  for (Value w : nibbles.bytes(e, *bytes, loaded)) {
    if (shift)
      w = asWords(e, arith::AddIOp::create(e.b, e.loc, asBytes(e, w),
                                           asBytes(e, shift)));
    if (integer)
      result.push_back(w);
    else
      llvm::append_range(result, unpackBytes(e, w));
  }
  return result;
}

DotPrimitive DotPrimitive::getUnpacked() const {
  DotPrimitive result = *this;
  result.unpacked = true;
  return result;
}

int64_t DotPrimitive::getUnpackedBytes() const {
  return getSlabColumns() / getChunk() *
         (getUnpackedChunkBytes() + kPanel * 4);
}

DotPrimitive::Panel DotPrimitive::unpackedAt(Emit &e, Value address,
                                             Value first,
                                             const Panel &packed) const {
  // Addresses as if the chunks before the first were there too.
  int64_t bytes = getUnpackedChunkBytes();
  Value base = e.at(address, e.mul(first, -bytes));
  Value scales = e.at(e.at(address, getSlabColumns() / getChunk() * bytes),
                      e.mul(first, -kPanel * 4));
  return {base, packed.rowScales, scales};
}

void DotPrimitive::unpack(Emit &e, const Panel &packed, Chunk chunk,
                          const Panel &to) const {
  DotPrimitive reader = getUnpacked();
  Chunk own{indexOf(e, chunk), 0};
  Value address = reader.quantsAt(e, to, own);
  DotPrimitive writer = *this;
  writer.movesWeights = true;
  SmallVector<Value> quants;
  for (int64_t line = 0; line < getChunk() / getLine(); ++line)
    llvm::append_range(quants, writer.loadWeights(e, packed, chunk, line));
  for (size_t i = 0; reader.inPairs() && i < quants.size(); i += 2) {
    // Four columns and the next four of each row, side by side.
    SmallVector<int64_t> words;
    for (int64_t row = 0; row < kPanel; ++row)
      words.append({row, kPanel + row});
    SmallVector<Value> halves = e.split(
        vector::ShuffleOp::create(e.b, e.loc, quants[i], quants[i + 1], words),
        2);
    llvm::copy(halves, &quants[i]);
  }
  for (auto [i, w] : llvm::enumerate(quants))
    e.store(w, e.at(address, i * 64), 64);
  e.store(loadScales(e, packed, chunk), reader.scalesAt(e, to, own), 64);
}
