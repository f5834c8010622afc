//===- Emit.cpp - Short names for building kernel code --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/Emit.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <numeric>

using namespace mlir;
using namespace sputnik::cpu;

static int64_t lanesOf(Value v) {
  auto type = dyn_cast<VectorType>(v.getType());
  return type ? type.getNumElements() : 1;
}

Value Emit::i64(int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 64);
}
Value Emit::i32(int32_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 32);
}
Value Emit::f32(float value) { return splat(f32Type(), value); }

Value Emit::splat(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr =
      isa<FloatType>(element)
          ? TypedAttr(b.getFloatAttr(element, value))
          : TypedAttr(b.getIntegerAttr(element, static_cast<int64_t>(value)));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(b, loc, attr);
}

Value Emit::pin(Value value) {
  // Kernels stand in the loop over layers: the slot is given back at once.
  Value stack = LLVM::StackSaveOp::create(b, loc, ptrType());
  Value slot = LLVM::AllocaOp::create(b, loc, ptrType(), value.getType(),
                                      i64(1), 64);
  LLVM::StoreOp::create(b, loc, value, slot, 64, /*isVolatile=*/true);
  Value pinned = LLVM::LoadOp::create(b, loc, value.getType(), slot, 64,
                                      /*isVolatile=*/true);
  LLVM::StackRestoreOp::create(b, loc, stack);
  return pinned;
}

Value Emit::add(Value a, Value c) { return b.createOrFold<arith::AddIOp>(loc, a, c); }
Value Emit::sub(Value a, Value c) { return b.createOrFold<arith::SubIOp>(loc, a, c); }
Value Emit::mul(Value a, Value c) { return b.createOrFold<arith::MulIOp>(loc, a, c); }
Value Emit::div(Value a, Value c) { return b.createOrFold<arith::DivUIOp>(loc, a, c); }
Value Emit::rem(Value a, int64_t c) {
  return b.createOrFold<arith::RemUIOp>(loc, a, i64(c));
}
Value Emit::min(Value a, Value c) { return b.createOrFold<arith::MinSIOp>(loc, a, c); }
Value Emit::less(Value a, Value c) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, a, c);
}
Value Emit::equal(Value a, Value c) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, a, c);
}
Value Emit::both(Value a, Value c) { return arith::AndIOp::create(b, loc, a, c); }
Value Emit::widen(Value i32) {
  return arith::ExtUIOp::create(b, loc, i64Type(), i32);
}

Value Emit::at(Value base, Value offset) {
  return LLVM::GEPOp::create(b, loc, base.getType(), b.getI8Type(), base,
                             ValueRange{offset});
}
Value Emit::load(Type type, Value ptr, unsigned align) {
  return LLVM::LoadOp::create(b, loc, type, ptr, align);
}
void Emit::store(Value value, Value ptr, unsigned align) {
  LLVM::StoreOp::create(b, loc, value, ptr, align);
}

void Emit::keepMemoryOrder() {
  LLVM::InlineAsmOp::create(b, loc, TypeRange(), ValueRange(), /*asm=*/"",
                            /*constraints=*/"~{memory}",
                            /*has_side_effects=*/true,
                            /*is_align_stack=*/false,
                            LLVM::tailcallkind::TailCallKind::None,
                            /*asm_dialect=*/nullptr,
                            /*operand_attrs=*/nullptr);
}

Value Emit::loadAsF32(Type element, Value ptr, int64_t lanes) {
  Type type = lanes == 1 ? element : Type(vecType(lanes, element));
  Value value = load(type, ptr, bytesOf(element));
  if (element.isF32())
    return value;
  Type wide = lanes == 1 ? f32Type() : Type(f32Vec(lanes));
  return arith::ExtFOp::create(b, loc, wide, value);
}

void Emit::storeFromF32(Value value, Type element, Value ptr) {
  if (!element.isF32()) {
    int64_t lanes = lanesOf(value);
    Type narrow = lanes == 1 ? element : Type(vecType(lanes, element));
    value = arith::TruncFOp::create(b, loc, narrow, value);
  }
  store(value, ptr, bytesOf(element));
}

Value Emit::addf(Value a, Value c) { return arith::AddFOp::create(b, loc, a, c); }
Value Emit::subf(Value a, Value c) { return arith::SubFOp::create(b, loc, a, c); }
Value Emit::mulf(Value a, Value c) { return arith::MulFOp::create(b, loc, a, c); }
Value Emit::divf(Value a, Value c) { return arith::DivFOp::create(b, loc, a, c); }
Value Emit::maxf(Value a, Value c) {
  Value greater =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, a, c);
  return arith::SelectOp::create(b, loc, greater, a, c);
}
Value Emit::fma(Value a, Value c, Value acc) {
  return math::FmaOp::create(b, loc, a, c, acc);
}
Value Emit::broadcast(Value scalar, int64_t lanes) {
  if (lanes == 1)
    return scalar;
  return vector::BroadcastOp::create(b, loc, vecType(lanes, scalar.getType()),
                                     scalar);
}

SmallVector<Value> Emit::split(Value v, int64_t parts) {
  if (parts == 1)
    return {v};
  int64_t lanes = lanesOf(v) / parts;
  SmallVector<Value> result;
  for (int64_t i = 0; i < parts; ++i)
    result.push_back(vector::ExtractStridedSliceOp::create(
        b, loc, v, {i * lanes}, {lanes}, {1}));
  return result;
}
Value Emit::join(ArrayRef<Value> parts) {
  if (parts.size() == 1)
    return parts.front();
  Value low = join(parts.take_front(parts.size() / 2));
  Value high = join(parts.drop_front(parts.size() / 2));
  SmallVector<int64_t> lanes(2 * lanesOf(low));
  std::iota(lanes.begin(), lanes.end(), 0);
  return vector::ShuffleOp::create(b, loc, low, high, lanes);
}

/// Halves the vector until one lane is left: the same tree on every target.
template <typename Combine>
static Value reduceTree(Emit &e, Value v, Combine combine) {
  for (int64_t lanes = lanesOf(v); lanes > 1; lanes /= 2) {
    Value low = vector::ExtractStridedSliceOp::create(e.b, e.loc, v, {0},
                                                      {lanes / 2}, {1});
    Value high = vector::ExtractStridedSliceOp::create(
        e.b, e.loc, v, {lanes / 2}, {lanes / 2}, {1});
    v = combine(low, high);
  }
  if (isa<VectorType>(v.getType()))
    v = vector::ExtractOp::create(e.b, e.loc, v, ArrayRef<int64_t>{0});
  return v;
}

Value Emit::reduceAdd(Value v) {
  return reduceTree(*this, v, [&](Value a, Value c) { return addf(a, c); });
}
Value Emit::reduceMax(Value v) {
  return reduceTree(*this, v, [&](Value a, Value c) { return maxf(a, c); });
}

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2; e^r by the
// polynomial of Cephes' expf, n goes into the exponent bits.
Value Emit::exp(Value x) {
  if (useLibm)
    return math::ExpOp::create(b, loc, x);
  Type type = x.getType();
  Type intType = isa<VectorType>(type)
                     ? Type(vecType(lanesOf(x), b.getI32Type()))
                     : Type(b.getI32Type());
  auto c = [&](double value) { return splat(type, value); };
  Value small = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x,
                                      c(88.37626));
  x = maxf(arith::SelectOp::create(b, loc, small, x, c(88.37626)),
           c(-87.33654));
  Value n = math::RoundEvenOp::create(b, loc, mulf(x, c(1.44269504088896341)));
  Value r = fma(n, c(-0.693359375), x);
  r = fma(n, c(2.12194440e-4), r);
  Value p = c(1.9875691500e-4);
  for (double coefficient : {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
                             1.6666665459e-1, 5.0000001201e-1})
    p = fma(p, r, c(coefficient));
  p = fma(p, mulf(r, r), addf(r, c(1.0)));
  Value bits = arith::FPToSIOp::create(b, loc, intType, n);
  bits = arith::AddIOp::create(b, loc, bits, splat(intType, 127));
  bits = arith::ShLIOp::create(b, loc, bits, splat(intType, 23));
  return mulf(p, arith::BitcastOp::create(b, loc, type, bits));
}

void Emit::loop(Value begin, Value end, Value step, Body body) {
  scf::ForOp::create(b, loc, begin, end, step, ValueRange{},
                     [&](OpBuilder &, Location, Value iv, ValueRange) {
                       body(iv);
                       scf::YieldOp::create(b, loc);
                     });
}
void Emit::loop(Value begin, Value end, int64_t step, Body body) {
  loop(begin, end, i64(step), body);
}
SmallVector<Value> Emit::loop(Value begin, Value end, int64_t step,
                              ValueRange carried, CarryBody body) {
  auto op = scf::ForOp::create(
      b, loc, begin, end, i64(step), carried,
      [&](OpBuilder &, Location, Value iv, ValueRange args) {
        scf::YieldOp::create(b, loc, body(iv, args));
      });
  return SmallVector<Value>(op.getResults());
}
void Emit::ifThen(Value condition, function_ref<void()> body) {
  scf::IfOp::create(b, loc, condition, [&](OpBuilder &, Location) {
    body();
    scf::YieldOp::create(b, loc);
  });
}

void Emit::vectorLoop(int64_t size, int64_t lanes,
                      function_ref<void(Value, int64_t)> body) {
  int64_t whole = size / lanes * lanes;
  if (whole)
    loop(i64(0), i64(whole), lanes, [&](Value i) { body(i, lanes); });
  if (whole < size)
    loop(i64(whole), i64(size), 1, [&](Value i) { body(i, 1); });
}

Value Emit::vectorSum(int64_t size, int64_t lanes,
                      function_ref<Value(Value, int64_t)> body) {
  auto sum = [&](int64_t begin, int64_t end, int64_t width) {
    Type type = width == 1 ? f32Type() : Type(f32Vec(width));
    Value zero = splat(type, 0.0);
    Value total = loop(i64(begin), i64(end), width, {zero},
                       [&](Value i, ValueRange args) -> SmallVector<Value> {
                         return {addf(args[0], body(i, width))};
                       })[0];
    return reduceAdd(total);
  };
  int64_t whole = size / lanes * lanes;
  if (!whole)
    return sum(0, size, 1);
  Value total = sum(0, whole, lanes);
  return whole < size ? addf(total, sum(whole, size, 1)) : total;
}
