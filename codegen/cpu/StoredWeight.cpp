//===- StoredWeight.cpp - One weight of a packed matrix --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/StoredWeight.h"

#include "codegen/cpu/Float8.h"
#include "codegen/cpu/Nibbles.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

Value sputnik::cpu::loadWeight(Emit &e, r1::EncodingAttr encoding,
                               int64_t columns, Value base, Value row,
                               Value column) {
  int64_t panel = encoding.getPanel(), step = encoding.getStep();
  Value start =
      e.at(base, e.mul(e.div(row, panel), encoding.getPanelBytes(columns)));
  Value lane = e.rem(row, panel);
  // Values of `wide` columns of each row lie together.
  auto index = [&](Value column, int64_t wide) {
    return e.add(e.add(e.mul(e.div(column, wide), panel * step),
                       e.mul(lane, step)),
                 e.rem(column, step));
  };
  if (!encoding.getBlock()) {
    Type stored = encoding.getScheme() == r1::Scheme::BF16
                      ? Type(e.b.getBF16Type())
                      : e.f32Type();
    return e.loadAsF32(stored,
                       e.at(start, e.mul(index(column, step), e.bytesOf(stored))));
  }
  Value block = e.div(column, encoding.getBlock());
  Value inGroup = e.rem(block, encoding.getGroupBlocks());
  Value inBlock = e.rem(column, encoding.getBlock());
  Value group = e.at(start, e.mul(e.div(block, encoding.getGroupBlocks()),
                                  encoding.getGroupBytes()));
  Value scalePtr = e.at(group, e.mul(e.add(e.mul(inGroup, panel), lane),
                                     encoding.getScaleBytes()));
  Value quants = e.at(group, e.add(e.mul(inGroup, encoding.getBlockBytes()),
                                   encoding.getGroupScaleBytes()));
  Type byteType = e.b.getI8Type();
  auto loadFloat = [&](Value ptr) { return e.load(e.f32Type(), ptr, 4); };
  Value scale, moved;
  if (encoding.getScheme() == r1::Scheme::Q4) {
    Value step = arith::ExtSIOp::create(e.b, e.loc, e.i64Type(),
                                        e.load(byteType, scalePtr, 1));
    scale = e.mulf(
        arith::SIToFPOp::create(e.b, e.loc, e.f32Type(), step),
        loadFloat(e.at(start, e.add(e.mul(lane, 4),
                                    encoding.getRowScaleOffset(columns)))));
    Value odd = arith::AndIOp::create(e.b, e.loc, step, e.i64(1));
    moved = arith::SIToFPOp::create(e.b, e.loc, e.f32Type(),
                                    e.mul(odd, r1::kQ4Shift));
  } else {
    scale = loadFloat(scalePtr);
  }
  if (!Nibbles::encodes(encoding.getScheme())) {
    Value byte = e.load(byteType, e.at(quants, index(inBlock, step)), 1);
    if (encoding.getScheme() == r1::Scheme::FP8)
      return e.mulf(float8ToFloat(e, byte), scale);
    return e.mulf(arith::SIToFPOp::create(e.b, e.loc, e.f32Type(), byte),
                  scale);
  }
  Value byte = arith::ExtUIOp::create(
      e.b, e.loc, e.i64Type(), e.load(byteType, e.at(quants, index(inBlock, 2 * step)), 1));
  Value shift = e.mul(e.div(e.rem(column, 2 * step), step), 4);
  Value nibble = arith::AndIOp::create(
      e.b, e.loc, arith::ShRUIOp::create(e.b, e.loc, byte, shift), e.i64(15));
  Nibbles nibbles(encoding.getScheme());
  Value value = e.f32(static_cast<float>(nibbles.valueOf(0)));
  for (int64_t i = 1; i < 16; ++i)
    value = arith::SelectOp::create(
        e.b, e.loc, e.equal(nibble, e.i64(i)),
        e.f32(static_cast<float>(nibbles.valueOf(i))), value);
  if (moved)
    value = e.addf(value, moved);
  return e.mulf(value, scale);
}
