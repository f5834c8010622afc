//===- TileRegisters.cpp - Matrices in tile registers ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/TileRegisters.h"

using namespace mlir;
using namespace sputnik::cpu;

Value TileRegisters::i16(int64_t value) {
  return arith::ConstantIntOp::create(e.b, e.loc, value, 16);
}

Type TileRegisters::tileType() {
  return LLVM::LLVMX86AMXType::get(e.b.getContext());
}

Value TileRegisters::zero(Shape shape) {
  return LLVM::CallIntrinsicOp::create(
             e.b, e.loc, tileType(),
             e.b.getStringAttr("llvm.x86.tilezero.internal"),
             ValueRange{i16(shape.rows), i16(shape.rowBytes)})
      .getResult(0);
}

Value TileRegisters::load(Shape shape, Value address, Value stride) {
  return LLVM::CallIntrinsicOp::create(
             e.b, e.loc, tileType(),
             e.b.getStringAttr("llvm.x86.tileloadd64.internal"),
             ValueRange{i16(shape.rows), i16(shape.rowBytes), address, stride})
      .getResult(0);
}

void TileRegisters::store(Shape shape, Value tile, Value address,
                          Value stride) {
  LLVM::CallIntrinsicOp::create(
      e.b, e.loc, e.b.getStringAttr("llvm.x86.tilestored64.internal"),
      ValueRange{i16(shape.rows), i16(shape.rowBytes), address, stride, tile});
}

Value TileRegisters::multiply(Element element, int64_t bytes, Value sum,
                              Value a, Value b) {
  StringRef name = element == Element::BF16 ? "llvm.x86.tdpbf16ps.internal"
                                            : "llvm.x86.tdpbssd.internal";
  return LLVM::CallIntrinsicOp::create(
             e.b, e.loc, tileType(), e.b.getStringAttr(name),
             ValueRange{i16(kRows), i16(kRowBytes), i16(bytes), sum, a, b})
      .getResult(0);
}
