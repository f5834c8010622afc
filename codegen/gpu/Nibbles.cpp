//===- Nibbles.cpp - What nibbles of weights stand for --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Nibbles.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

NibbleTable sputnik::gpu::nibbleTable(Kernel &k, r1::Scheme scheme,
                                      Value step) {
  auto word = [&](int64_t first, int64_t shift) {
    uint32_t bytes = 0;
    for (int64_t i = 0; i < 4; ++i) {
      int64_t value = scheme == r1::Scheme::Q4 ? r1::kQ4Table[first + i] + shift
                                               : first + i - 8;
      bytes |= static_cast<uint32_t>(static_cast<uint8_t>(value)) << (8 * i);
    }
    return k.i32(static_cast<int32_t>(bytes));
  };
  Value odd;
  if (step)
    odd = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ne,
                                k.and32(step, 1), k.i32(0));
  NibbleTable table;
  for (int64_t i = 0; i < 4; ++i)
    table[i] = odd ? k.select(odd, word(4 * i, r1::kQ4Shift), word(4 * i, 0))
                   : word(4 * i, 0);
  return table;
}

/// A byte permutation looks up three bits; the fourth chooses between two. It
/// looks at the low half of what chooses.
std::pair<Value, Value> sputnik::gpu::lookUpNibbles(Kernel &k,
                                                    const NibbleTable &table,
                                                    Value word) {
  Value three = k.and32(word, 0x77777777);
  Value fourth =
      k.or32(k.and32(k.shiftRight32(word, 1), 0x44444444), 0x32103210);
  auto half = [&](Value three, Value fourth) {
    return k.permuteBytes(k.permuteBytes(table[0], table[1], three),
                          k.permuteBytes(table[2], table[3], three), fourth);
  };
  return {half(three, fourth),
          half(k.shiftRight32(three, 16), k.shiftRight32(fourth, 16))};
}

SmallVector<Value> sputnik::gpu::inNibbleOrder(Kernel &k, Value first,
                                               Value last) {
  return {k.permuteBytes(first, last, k.i32(0x5140)),
          k.permuteBytes(first, last, k.i32(0x7362))};
}
