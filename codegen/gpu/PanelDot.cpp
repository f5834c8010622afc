//===- PanelDot.cpp - A warp's inner product with packed rows -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/PanelDot.h"

#include "codegen/gpu/ByteRows.h"
#include "codegen/gpu/Float8.h"
#include "codegen/gpu/Nibbles.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

FailureOr<PanelDot> PanelDot::get(r1::EncodingAttr encoding, Type element) {
  if (!encoding || encoding.getPanel() != kPanel)
    return failure();
  switch (encoding.getScheme()) {
  case r1::Scheme::F32:
  case r1::Scheme::BF16:
    if (!element.isF32() ||
        encoding.getStep() !=
            (encoding.getScheme() == r1::Scheme::F32 ? 4 : 8))
      return failure();
    return PanelDot(encoding, /*integer=*/false);
  case r1::Scheme::Q8:
  case r1::Scheme::Q4:
  case r1::Scheme::Q4Plain:
    if (!element.isInteger(8) && !element.isF32())
      return failure();
    return PanelDot(encoding, /*integer=*/element.isInteger(8));
  case r1::Scheme::FP8:
    if (!element.isF32())
      return failure();
    return PanelDot(encoding, /*integer=*/false);
  }
  return failure();
}

int64_t PanelDot::partColumns() const {
  return isNibbles() ? 2 * encoding.getStep() : encoding.getStep();
}

int64_t PanelDot::rowParts(int64_t columns) const {
  int64_t unit = blocks() ? encoding.getBlock() : partColumns();
  return llvm::alignTo(columns, unit) / partColumns();
}

PanelDot::Weights PanelDot::load(Kernel &k, Value panel, int64_t columns,
                                 Value chunk) const {
  if (!blocks()) {
    Value address =
        k.at(panel, k.add(k.mul(chunk, 512), k.mul(k.lane, 16)));
    return {k.loadStreamed(address), nullptr, nullptr};
  }
  // A part's 64 bytes lie in its block, and that in its group.
  Value part = k.add(k.mul(chunk, parts()), lanePart(k));
  int64_t blockParts = encoding.getBlock() / partColumns();
  Value block = k.div(part, blockParts);
  Value group = k.at(panel, k.mul(k.div(block, encoding.getGroupBlocks()),
                                  encoding.getGroupBytes()));
  Value inGroup = k.rem(block, encoding.getGroupBlocks());
  Value quants = k.at(
      group, k.add(k.mul(inGroup, encoding.getBlockBytes()),
                   k.add(k.mul(k.rem(part, blockParts), 64),
                         k.add(k.mul(laneRow(k), 4),
                               encoding.getGroupScaleBytes()))));
  Weights weights{k.loadStreamed(quants), nullptr, nullptr};
  Value scales = k.at(group, k.mul(k.add(k.mul(inGroup, kPanel), laneRow(k)),
                                   encoding.getScaleBytes()));
  if (encoding.getScheme() != r1::Scheme::Q4) {
    weights.scales = k.load(k.f32Vec(4), scales, 16);
    if (isFloat8() && float8Factor(k.target) != 1)
      weights.scales = k.mulf(
          weights.scales, k.splat(k.f32Vec(4), float8Factor(k.target)));
    return weights;
  }
  weights.steps = k.load(k.b.getI32Type(), scales, 4);
  weights.scales = LLVM::PoisonOp::create(k.b, k.loc, k.f32Vec(4));
  for (auto [i, step] : llvm::enumerate(bytesToFloats(k, weights.steps)))
    weights.scales = LLVM::InsertElementOp::create(
        k.b, k.loc, weights.scales, step, k.i32(static_cast<int32_t>(i)));
  return weights;
}

PanelDot::Row PanelDot::rowAt(Kernel &k, Value ptr, int64_t columns) const {
  if (!integer)
    return {ptr, nullptr};
  return {ptr, k.at(ptr, llvm::alignTo(columns, r1::kQuantBlock))};
}

static Value element(Kernel &k, Value vector, int64_t i) {
  return LLVM::ExtractElementOp::create(k.b, k.loc, vector, k.i32(i));
}

void PanelDot::multiplyFloats(Kernel &k, const Weights &weights, Value x,
                              MutableArrayRef<Value> sums) const {
  for (int64_t i = 0; i < partColumns(); i += 4) {
    Value four = k.load(k.f32Vec(4), k.at(x, 4 * i), 16);
    for (int64_t j = 0; j < 4; ++j) {
      Value word =
          element(k, weights.words, partColumns() == 4 ? j : (i + j) / 2);
      if (partColumns() == 8)
        // The even column lies in the low half.
        word = (i + j) % 2
                   ? k.and32(word, static_cast<int32_t>(0xffff0000))
                   : Value(arith::ShLIOp::create(k.b, k.loc, word, k.i32(16)));
      Value weight = arith::BitcastOp::create(k.b, k.loc, k.f32Type(), word);
      sums[j % 2] = k.fma(weight, element(k, four, j), sums[j % 2]);
    }
  }
}

void PanelDot::multiplyBlocks(Kernel &k, const Weights &weights, Value x,
                              MutableArrayRef<Value> sums) const {
  SmallVector<Value> columns;
  for (int64_t i = 0; i < partColumns(); i += 4) {
    Value four = k.load(k.f32Vec(4), k.at(x, 4 * i), 16);
    for (int64_t j = 0; j < 4; ++j)
      columns.push_back(element(k, four, j));
  }
  constexpr int64_t order[] = {0, 4, 1, 5, 2, 6, 3, 7};
  for (int64_t row = 0; row < 4; ++row) {
    Value word = element(k, weights.words, row), dot = k.f32(0);
    if (!isNibbles()) {
      SmallVector<Value> values =
          isFloat8() ? float8ToFloats(k, word) : bytesToFloats(k, word);
      for (auto [column, value] : llvm::zip_equal(columns, values))
        dot = k.fma(value, column, dot);
    } else {
      Value step = weights.steps
                       ? k.permuteBytes(weights.steps, k.i32(0),
                                        k.i32(0x4440 | row))
                       : Value();
      auto [low, high] = lookUpNibbles(
          k, nibbleTable(k, encoding.getScheme(), step), word);
      SmallVector<Value> values = bytesToFloats(k, low);
      llvm::append_range(values, bytesToFloats(k, high));
      for (auto [column, value] : llvm::zip_equal(order, values))
        dot = k.fma(value, columns[column], dot);
    }
    sums[row] = k.fma(dot, element(k, weights.scales, row), sums[row]);
  }
}

void PanelDot::multiplyBytes(Kernel &k, const Weights &weights, Value words,
                             Value scale, MutableArrayRef<Value> sums) const {
  Type i32Type = k.b.getI32Type();
  Value first = k.load(i32Type, words, 4), second;
  if (isNibbles()) {
    Value last = k.load(i32Type, k.at(words, 4), 4);
    SmallVector<Value> ordered = inNibbleOrder(k, first, last);
    first = ordered[0];
    second = ordered[1];
  }
  Value moved, isMoved; // What a moved table adds; a byte for each row.
  if (weights.steps) {
    Value ones = k.i32(0x01010101);
    moved = arith::MulIOp::create(
        k.b, k.loc, k.dot4(ones, first, k.dot4(ones, second, k.i32(0))),
        k.i32(r1::kQ4Shift));
    isMoved = k.and32(weights.steps, 0x01010101);
  }
  NibbleTable table = nibbleTable(k, encoding.getScheme());
  for (int32_t i = 0; i < 4; ++i) {
    Value word = element(k, weights.words, i);
    // A sum that begins with the bits of 1.5 * 2^23 ends with those of a float
    // that is as much larger as the sum.
    Value dot = k.i32(0x4b400000);
    if (moved)
      dot = arith::AddIOp::create(
          k.b, k.loc,
          arith::MulIOp::create(
              k.b, k.loc,
              k.permuteBytes(isMoved, k.i32(0), k.i32(0x4440 | i)), moved),
          dot);
    if (isNibbles()) {
      auto [low, high] = lookUpNibbles(k, table, word);
      dot = k.dot4(high, second, k.dot4(low, first, dot));
    } else {
      dot = k.dot4(word, first, dot);
    }
    Value product =
        k.subf(arith::BitcastOp::create(k.b, k.loc, k.f32Type(), dot),
               k.f32(12582912.0f));
    sums[i] = k.fma(product, k.mulf(element(k, weights.scales, i), scale),
                    sums[i]);
  }
}

SmallVector<Value> PanelDot::multiply(Kernel &k, const Weights &weights,
                                      const Row &row, Value chunk,
                                      ValueRange before) const {
  SmallVector<Value> sums(before);
  Value part = k.add(k.mul(chunk, parts()), lanePart(k));
  Value x = k.at(row.values, k.mul(part, partColumns() * (integer ? 1 : 4)));
  if (!blocks()) {
    multiplyFloats(k, weights, x, sums);
  } else if (!integer) {
    multiplyBlocks(k, weights, x, sums);
  } else {
    Value group = k.div(part, r1::kActivationGroup / partColumns());
    Value scale =
        k.load(k.f32Type(), k.at(row.scales, k.mul(group, 4)), 4);
    multiplyBytes(k, weights, x, scale, sums);
  }
  return sums;
}

PanelDot::Share PanelDot::all(Kernel &k, int64_t columns) const {
  return {k.i64(0), k.i64(rowParts(columns) / parts()), k.i64(0), 1,
          k.splat(k.b.getI1Type(), 1)};
}

SmallVector<Value> PanelDot::sumPanel(Kernel &k, Value panel, int64_t columns,
                                      ArrayRef<Row> rows, const Share &share,
                                      int64_t unroll) const {
  int64_t perRow = sumsPerRow();
  auto chunksFrom = [&](Value first, int64_t count, ValueRange before) {
    SmallVector<Weights> loaded;
    SmallVector<Value> index;
    for (int64_t i = 0; i < count; ++i) {
      index.push_back(k.add(first, i * share.stride));
      loaded.push_back(load(k, panel, columns, index.back()));
    }
    SmallVector<Value> now(before);
    for (int64_t i = 0; i < count; ++i)
      for (auto [t, row] : llvm::enumerate(rows)) {
        auto own = MutableArrayRef(now).slice(t * perRow, perRow);
        llvm::copy(multiply(k, loaded[i], row, index[i], own), own.begin());
      }
    return now;
  };

  int64_t rowEnd = rowParts(columns);
  int64_t chunks = rowEnd / parts(), rest = rowEnd % parts();
  int64_t stride = share.stride * unroll;
  Value middle = k.add(
      share.begin,
      k.mul(k.div(k.sub(share.end, share.begin), stride), stride));
  SmallVector<Value> now(rows.size() * perRow, k.f32(0));
  now = k.loop(k.add(share.begin, share.first), k.add(middle, share.first),
               stride, now, [&](Value chunk, ValueRange carried) {
                 return chunksFrom(chunk, unroll, carried);
               });
  now = k.loop(k.add(middle, share.first), share.end, share.stride, now,
               [&](Value chunk, ValueRange carried) {
                 return chunksFrom(chunk, 1, carried);
               });
  if (rest) {
    // The first lanes have columns of one more chunk.
    Value mine = k.both(share.takesRest, k.less(lanePart(k), k.i64(rest)));
    now = k.ifThenElse(mine, now, [&] {
      return chunksFrom(k.i64(chunks), 1, now);
    });
  }
  SmallVector<Value> reduced;
  Value rowScales;
  if (encoding.getRowScaleBytes())
    rowScales = k.load(k.f32Vec(4),
                       k.at(panel, k.add(k.mul(laneRow(k), 4),
                                         encoding.getRowScaleOffset(columns))),
                       16);
  for (size_t t = 0; t < rows.size(); ++t)
    for (auto [i, sum] : llvm::enumerate(
             reduce(k, ArrayRef(now).slice(t * perRow, perRow))))
      reduced.push_back(rowScales
                            ? k.mulf(sum, element(k, rowScales, i))
                            : sum);
  return reduced;
}

SmallVector<Value> PanelDot::reduce(Kernel &k, ValueRange sums) const {
  int64_t lanes = kWarp / parts();
  if (!blocks())
    return {k.warpSum(k.addf(sums[0], sums[1]), lanes)};
  SmallVector<Value> result;
  for (Value sum : sums)
    result.push_back(k.warpSum(sum, lanes));
  return result;
}
