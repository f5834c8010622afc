//===- TokenOrder.cpp - Numbers of the sampler on a GPU -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/TokenOrder.h"

#include "runtime/Abi.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Of keys: what plus and minus infinity have above their ids.
static constexpr int64_t kInfinite = 0x007fffff, kMinusInfinite = 0xff800000;

TokenOrder::TokenOrder(Kernel &k) : k(k) {
  ofWarps = k.allocateShared(kWarps * 8);
}

Value TokenOrder::f64(double value) {
  return arith::ConstantOp::create(k.b, k.loc, k.b.getF64FloatAttr(value));
}

static Value invert(Kernel &k, Value word) {
  return arith::XOrIOp::create(k.b, k.loc, word, k.i32(-1));
}

Value TokenOrder::key(Value logit, Value id) {
  // Both zeros are equal.
  Value sum = k.addf(logit, k.f32(0));
  Value bits = arith::BitcastOp::create(k.b, k.loc, k.b.getI32Type(), sum);
  Value sign = arith::ShRSIOp::create(k.b, k.loc, bits, k.i32(31));
  Value ascending = arith::XOrIOp::create(
      k.b, k.loc, bits, k.or32(sign, static_cast<int32_t>(0x80000000)));
  Value isNaN = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNO,
                                      logit, logit);
  Value upper = k.widen(k.select(isNaN, k.i32(0), invert(k, ascending)));
  return k.add(k.mul(upper, int64_t(1) << kIdBits), id);
}

Value TokenOrder::logitOf(Value key) {
  Value ascending = invert(
      k, arith::TruncIOp::create(
             k.b, k.loc, k.b.getI32Type(),
             arith::ShRUIOp::create(k.b, k.loc, key, k.i64(kIdBits))));
  Value sign =
      invert(k, arith::ShRSIOp::create(k.b, k.loc, ascending, k.i32(31)));
  return arith::BitcastOp::create(
      k.b, k.loc, k.f32Type(),
      arith::XOrIOp::create(k.b, k.loc, ascending,
                            k.or32(sign, static_cast<int32_t>(0x80000000))));
}

Value TokenOrder::idOf(Value key) {
  return arith::AndIOp::create(k.b, k.loc, key,
                               k.i64((int64_t(1) << kIdBits) - 1));
}

Value TokenOrder::statusOf(Value key) {
  Value upper = arith::ShRUIOp::create(k.b, k.loc, key, k.i64(kIdBits));
  Value status = k.i64(abi::kSampled);
  const std::pair<int64_t, abi::SampleStatus> others[] = {
      {0, abi::kNotANumber},
      {kInfinite, abi::kInfinite},
      {kMinusInfinite, abi::kMinusInfinite}};
  for (auto [code, other] : others)
    status = k.select(k.equal(upper, k.i64(code)), k.i64(other), status);
  return status;
}

Value TokenOrder::lastKey() { return k.i64(kMinusInfinite << kIdBits); }

Value TokenOrder::exp(Value x) {
  auto times = [&](Value a, Value c) -> Value {
    return arith::MulFOp::create(k.b, k.loc, a, c);
  };
  auto plus = [&](Value a, double c) -> Value {
    return arith::AddFOp::create(k.b, k.loc, a, f64(c));
  };
  auto minus = [&](Value a, Value c) -> Value {
    return arith::SubFOp::create(k.b, k.loc, a, c);
  };
  Value exponent = arith::FPToSIOp::create(
      k.b, k.loc, k.i64Type(), plus(times(x, f64(1.4426950408889634)), -0.5));
  Value power =
      arith::SIToFPOp::create(k.b, k.loc, k.b.getF64Type(), exponent);
  Value rest =
      minus(minus(x, times(power, f64(6.93147180369123816490e-01))),
            times(power, f64(1.90821492927058770002e-10)));
  constexpr double factorials[] = {479001600, 39916800, 3628800, 362880,
                                   40320,     5040,     720,     120,
                                   24,        6,        2,       1,
                                   1};
  Value sum = f64(1.0 / 6227020800.0);
  for (double factorial : factorials)
    sum = plus(times(sum, rest), 1.0 / factorial);
  Value scale = arith::ShLIOp::create(k.b, k.loc, k.add(exponent, 1023),
                                      k.i64(52));
  return times(sum, arith::BitcastOp::create(k.b, k.loc, k.b.getF64Type(),
                                             scale));
}

TokenOrder::Weight TokenOrder::weight(Value logit, Value largest,
                                      Value temperature) {
  Value wide =
      arith::ExtFOp::create(k.b, k.loc, k.b.getF64Type(), logit);
  Value distance = arith::DivFOp::create(
      k.b, k.loc, arith::SubFOp::create(k.b, k.loc, wide, largest),
      temperature);
  Value near = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGE,
                                     distance, f64(-abi::kLargestDistance));
  Value power = exp(k.select(near, distance, f64(0)));
  Value rounded = arith::AddFOp::create(
      k.b, k.loc,
      arith::MulFOp::create(k.b, k.loc, power, f64(abi::kLargestWeight)),
      f64(0.5));
  Value value = k.select(
      near, arith::FPToSIOp::create(k.b, k.loc, k.i64Type(), rounded),
      k.i64(0));
  return {value, arith::NegFOp::create(k.b, k.loc, distance)};
}

Value TokenOrder::bin(Value distance, int64_t perUnit) {
  return arith::FPToSIOp::create(
      k.b, k.loc, k.i64Type(),
      arith::MulFOp::create(k.b, k.loc, distance,
                            f64(static_cast<double>(perUnit))));
}

/// rt::Random, and the upper half of its product with the limit.
std::pair<Value, Value> TokenOrder::draw(Value state, Value limit) {
  auto constant = [&](uint64_t value) {
    return k.i64(static_cast<int64_t>(value));
  };
  auto mixed = [&](Value z, int64_t bits) -> Value {
    return arith::XOrIOp::create(
        k.b, k.loc, z,
        arith::ShRUIOp::create(k.b, k.loc, z, k.i64(bits)));
  };
  Value next = k.add(state, constant(0x9e3779b97f4a7c15));
  Value z = k.mul(mixed(next, 30), constant(0xbf58476d1ce4e5b9));
  z = mixed(k.mul(mixed(z, 27), constant(0x94d049bb133111eb)), 31);
  auto product = arith::MulUIExtendedOp::create(k.b, k.loc, z, limit);
  return {next, product.getHigh()};
}

Value TokenOrder::nucleusTarget(Value topP, Value weight) {
  Value positive = arith::CmpFOp::create(
      k.b, k.loc, arith::CmpFPredicate::OGT, topP, f64(0));
  Value needed = arith::FPToSIOp::create(
      k.b, k.loc, k.i64Type(),
      arith::MulFOp::create(
          k.b, k.loc, k.select(positive, topP, f64(0)),
          arith::SIToFPOp::create(k.b, k.loc, k.b.getF64Type(), weight)));
  return k.sub(arith::MaxSIOp::create(k.b, k.loc, needed, k.i64(1)),
               k.i64(1));
}

Value TokenOrder::shuffleXor(Value value, int64_t mask) {
  auto half = [&](Value part) {
    return k.widen(k.shuffleXor(
        arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), part), mask));
  };
  Value upper = half(arith::ShRUIOp::create(k.b, k.loc, value, k.i64(32)));
  return arith::OrIOp::create(
      k.b, k.loc, half(value),
      arith::ShLIOp::create(k.b, k.loc, upper, k.i64(32)));
}

Value TokenOrder::teamMin(Value value) {
  for (int64_t mask = 1; mask < kWarp; mask *= 2)
    value = k.min(value, shuffleXor(value, mask));
  // Whoever still reads what was there is waited for.
  k.barrier();
  k.store(value, k.at(ofWarps, k.mul(k.warp, 8)), 8);
  k.barrier();
  for (int64_t i = 0; i < kWarps; ++i)
    value = k.min(value, k.load(k.i64Type(), k.at(ofWarps, 8 * i), 8));
  return value;
}

std::pair<Value, Value> TokenOrder::scan(Value value) {
  Value before = k.i64(0), all = value;
  for (int64_t mask = 1; mask < kWarp; mask *= 2) {
    Value others = shuffleXor(all, mask);
    Value isUpper = k.equal(k.rem(k.div(k.lane, mask), 2), k.i64(1));
    before = k.select(isUpper, k.add(before, others), before);
    all = k.add(all, others);
  }
  k.barrier();
  k.store(all, k.at(ofWarps, k.mul(k.warp, 8)), 8);
  k.barrier();
  all = k.i64(0);
  for (int64_t i = 0; i < kWarps; ++i) {
    Value own = k.load(k.i64Type(), k.at(ofWarps, 8 * i), 8);
    before = k.select(k.less(k.i64(i), k.warp), k.add(before, own), before);
    all = k.add(all, own);
  }
  return {before, all};
}
