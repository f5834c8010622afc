//===- ByteDot.cpp - Products of bytes in 32 bits -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/ByteDot.h"

#include "codegen/cpu/Target.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

Value sputnik::cpu::callIntrinsic(Emit &e, StringRef name, Type type,
                                  ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(e.b, e.loc, type,
                                       e.b.getStringAttr(name), operands)
      .getResult(0);
}

FailureOr<ByteDot> ByteDot::get(r1::TargetAttr target) {
  r1::IntDotKind kind = target.getInt8Dot();
  switch (kind) {
  case r1::IntDotKind::None:
  case r1::IntDotKind::DP4A:
    return failure();
  case r1::IntDotKind::AVX512VNNI:
  case r1::IntDotKind::AVX512BW: {
    // vpdpbusd takes unsigned weights.
    ByteDot dot(kind, 1, kind == r1::IntDotKind::AVX512VNNI ? 128 : 0);
    dot.permutes = hasFeature(target, "avx512vbmi");
    return dot;
  }
  case r1::IntDotKind::AVXVNNI:
    return ByteDot(kind, 2, 128);
  case r1::IntDotKind::AVX2:
    return ByteDot(kind, 2);
  case r1::IntDotKind::NEON:
  case r1::IntDotKind::DotProd:
  case r1::IntDotKind::I8MM:
    return ByteDot(kind, 4);
  }
  llvm_unreachable("every kind has registers");
}

bool ByteDot::accumulates() const {
  return kind != r1::IntDotKind::AVX512BW && kind != r1::IntDotKind::AVX2 &&
         kind != r1::IntDotKind::NEON;
}

Value ByteDot::multiply(Emit &e, Value weights, Value activations,
                        Value sums) const {
  SmallVector<Value> w = e.split(weights, parts), x = e.split(activations, parts),
                     result = e.split(sums, parts);
  for (int64_t i = 0; i < parts; ++i)
    result[i] = multiplyRegister(e, w[i], x[i], result[i]);
  return e.join(result);
}

Value ByteDot::multiplyPair(Emit &e, Value weights, Value activations,
                            Value sums) const {
  constexpr int64_t registers = 8;
  VectorType bytes = e.vecType(getRegisterBytes(), e.b.getI8Type());
  Value x = LLVM::BitcastOp::create(e.b, e.loc, bytes, activations);
  SmallVector<Value> w = e.split(weights, registers),
                     result = e.split(sums, registers);
  // A register has two weight rows, its sums those times both activation rows.
  for (int64_t i = 0; i < registers; ++i) {
    Value rows = LLVM::BitcastOp::create(e.b, e.loc, bytes, w[i]);
    result[i] = callIntrinsic(e, "llvm.aarch64.neon.smmla.v4i32.v16i8",
                              result[i].getType(), {result[i], rows, x});
  }
  return e.join(result);
}

Value ByteDot::multiplyRegister(Emit &e, Value weights, Value activations,
                                Value sums) const {
  int64_t bytes = getRegisterBytes();
  Type words = sums.getType();
  VectorType byteType = e.vecType(bytes, e.b.getI8Type());
  VectorType halfType = e.vecType(bytes / 2, e.b.getI16Type());
  auto as = [&](Type type, Value v) -> Value {
    return LLVM::BitcastOp::create(e.b, e.loc, type, v);
  };
  Value w = as(byteType, weights), x = as(byteType, activations);
  auto call = [&](StringRef name, Type type, ValueRange operands) {
    return callIntrinsic(e, name, type, operands);
  };
  // pmaddubsw takes unsigned bytes times signed ones and saturates the sum of two
  // products. The sign of weights goes to the activations: magnitudes up to 128
  // and 127 stay within 16 bits.
  auto multiplyAdd = [&](StringRef bytesName, StringRef halvesName,
                         Value signedX) -> Value {
    Value pairs =
        call(bytesName, halfType,
             {math::AbsIOp::create(e.b, e.loc, w), signedX});
    Value fours = call(halvesName, words, {pairs, e.splat(halfType, 1)});
    return arith::AddIOp::create(e.b, e.loc, sums, fours);
  };
  switch (kind) {
  case r1::IntDotKind::AVX512VNNI:
    return call("llvm.x86.avx512.vpdpbusd.512", words, {sums, w, x});
  case r1::IntDotKind::AVXVNNI:
    return call("llvm.x86.avx512.vpdpbusd.256", words, {sums, w, x});
  case r1::IntDotKind::AVX512BW: {
    Value zero = e.splat(byteType, 0);
    Value negative = arith::CmpIOp::create(
        e.b, e.loc, arith::CmpIPredicate::slt, w, zero);
    Value negated = arith::SubIOp::create(e.b, e.loc, zero, x);
    return multiplyAdd(
        "llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512",
        arith::SelectOp::create(e.b, e.loc, negative, negated, x));
  }
  case r1::IntDotKind::AVX2:
    return multiplyAdd("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd",
                       call("llvm.x86.avx2.psign.b", byteType, {x, w}));
  case r1::IntDotKind::DotProd:
  case r1::IntDotKind::I8MM:
    return call("llvm.aarch64.neon.sdot.v4i32.v16i8", words, {sums, w, x});
  case r1::IntDotKind::NEON: {
    // The sum of two products stays within 16 bits here, too.
    SmallVector<Value> halves;
    for (auto [a, b] : llvm::zip_equal(e.split(w, 2), e.split(x, 2)))
      halves.push_back(call("llvm.aarch64.neon.smull.v8i16", halfType, {a, b}));
    Value pairs = call("llvm.aarch64.neon.addp.v8i16", halfType, halves);
    Value fours =
        call("llvm.aarch64.neon.saddlp.v4i32.v8i16", words, pairs);
    return arith::AddIOp::create(e.b, e.loc, sums, fours);
  }
  case r1::IntDotKind::None:
  case r1::IntDotKind::DP4A:
    break;
  }
  llvm_unreachable("every kind that a CPU has multiplies");
}

/// An instruction that looks up bytes in registers of this size; its first
/// operand is the table.
static StringRef lookUpName(int64_t registerBytes, bool permutes) {
  if (permutes)
    return "llvm.x86.avx512.permvar.qi.512";
  switch (registerBytes) {
  case 16:
    return "llvm.aarch64.neon.tbl1.v16i8";
  case 32:
    return "llvm.x86.avx2.pshuf.b";
  default:
    return "llvm.x86.avx512.pshuf.b.512";
  }
}

Value ByteDot::lookUp(Emit &e, Value table, Value indices) const {
  SmallVector<Value> result = e.split(indices, parts);
  for (Value &part : result) {
    Value bytes =
        LLVM::BitcastOp::create(e.b, e.loc, table.getType(), part);
    bytes = callIntrinsic(e, lookUpName(getRegisterBytes(), permutes),
                          table.getType(),
                          {table, bytes});
    part = LLVM::BitcastOp::create(e.b, e.loc, part.getType(), bytes);
  }
  return e.join(result);
}
