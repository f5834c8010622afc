//===- WarpgroupWeights.cpp - Packed rows for warpgroups ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// In a fragment of a product lane l has columns 2 (l % 4) and the next, and
// those 8 further. Encodings in blocks lie so that one word has 4 columns of a
// row, or 8 in nibbles: lanes load the words that have theirs, several the
// same, and take their two columns out before they look anything up.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/WarpgroupWeights.h"

#include "codegen/gpu/ByteRows.h"
#include "codegen/gpu/Float8.h"
#include "codegen/gpu/Nibbles.h"
#include "codegen/gpu/PanelDot.h"
#include "codegen/gpu/PanelFragments.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// 8 columns of a panel's rows in bf16, and of one of its halves.
static constexpr int64_t kColumnsBytes = kPanel * 16;
static constexpr int64_t kHalfBytes = kColumnsBytes / 2;
/// Columns of a product that lie together in a fragment.
static constexpr int64_t kTogether = 8;
/// Bytes of a word of all rows of a panel.
static constexpr int64_t kWordsBytes = kPanel * 4;

bool WarpgroupWeights::supports(r1::EncodingAttr encoding, Type element) {
  return PanelFragments::supports(encoding) && element.isBF16();
}

WarpgroupWeights::WarpgroupWeights(r1::EncodingAttr encoding, int64_t columns)
    : encoding(encoding) {
  if (!converts()) {
    valueBytes = encoding.getPanelBytes(columns);
    bytesOfStep = kStepColumns / kTogether * kColumnsBytes;
    return;
  }
  valueBytes = encoding.getRowScaleOffset(columns);
  int64_t blocks = kStepColumns / encoding.getBlock();
  bytesOfStep = sharesScales()
                    ? encoding.getGroupScaleBytes() + parts() * partBytes()
                    : blocks * encoding.getGroupBytes();
}

int64_t WarpgroupWeights::partBytes() const {
  int64_t columns = products() * kProductColumns;
  return encoding.getBlockBytes() * columns / encoding.getBlock();
}

//===----------------------------------------------------------------------===//
// Steps in the image and in shared memory
//===----------------------------------------------------------------------===//

SmallVector<WarpgroupWeights::Piece, 2>
WarpgroupWeights::pieces(Kernel &k, Value step) const {
  // Of `all` bytes, those from `offset` on: a whole step's, or what there is.
  auto upToEnd = [&](Value offset, int64_t bytes, int64_t all) {
    Value most = k.i64(bytes);
    return all % bytes ? k.min(most, k.sub(k.i64(valueBytes), offset)) : most;
  };
  if (!sharesScales()) {
    Value offset = k.mul(step, bytesOfStep);
    return {{0, offset, upToEnd(offset, bytesOfStep, valueBytes)}};
  }
  int64_t scaleBytes = encoding.getGroupScaleBytes();
  int64_t stepBytes = parts() * partBytes();
  int64_t groups = llvm::divideCeil(valueBytes, encoding.getGroupBytes());
  int64_t together = (encoding.getGroupBytes() - scaleBytes) / stepBytes;
  Value group = k.mul(k.div(step, together), encoding.getGroupBytes());
  Value quants = k.add(k.add(group, scaleBytes),
                       k.mul(k.rem(step, together), stepBytes));
  return {{0, group, k.i64(scaleBytes)},
          {scaleBytes, quants,
           upToEnd(quants, stepBytes, valueBytes - groups * scaleBytes)}};
}

/// Where only quants are missing, any will do: their scales are there.
int64_t WarpgroupWeights::missingBytes() const {
  return sharesScales() ? 0
                        : llvm::alignTo(valueBytes, bytesOfStep) - valueBytes;
}

Value WarpgroupWeights::scalesAt(Kernel &k, Value step, int64_t part) const {
  if (!sharesScales())
    return k.i64(part * encoding.getGroupBytes());
  // A block of several steps has one scale; blocks of parts have theirs one
  // after the other.
  int64_t blocks = encoding.getGroupBlocks();
  if (blocks == 1)
    return k.i64(0);
  Value first = k.mul(k.rem(step, blocks / parts()), parts());
  return k.mul(k.add(first, part), kPanel * encoding.getScaleBytes());
}

int64_t WarpgroupWeights::quantsAt(int64_t part) const {
  return encoding.getGroupScaleBytes() +
         part * (sharesScales() ? partBytes() : encoding.getGroupBytes());
}

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

Value WarpgroupWeights::panel(Kernel &k, int64_t i) const {
  return converts() ? k.warp
                    : k.add(k.mul(k.rem(k.warp, kWarps / 2), 2), i / 2);
}

Value WarpgroupWeights::row(Kernel &k, int64_t i) const {
  Value group = k.div(k.lane, 4);
  if (converts())
    return k.add(k.mul(group, 2), i / 2);
  return k.add(k.mul(k.div(k.warp, kWarps / 2), kPanel / 2), group);
}

static Value element(Kernel &k, Value vector, int64_t i) {
  return LLVM::ExtractElementOp::create(k.b, k.loc, vector, k.i32(i));
}

SmallVector<Value, 2> WarpgroupWeights::rowScales(Kernel &k,
                                                  Value panel) const {
  if (!encoding.getRowScaleBytes())
    return {};
  Value offset = k.add(k.mul(row(k, 0), 4), valueBytes);
  Value pair = k.load(k.f32Vec(2), k.at(panel, offset), 4);
  return {element(k, pair, 0), element(k, pair, 1)};
}

SmallVector<Value> WarpgroupWeights::values(Kernel &k, ArrayRef<Value> words,
                                            Value step) const {
  // Two columns of each of two words.
  Value odd = k.equal(k.rem(k.lane, 2), k.i64(1));
  Value selector = k.select(odd, k.i32(0x7632), k.i32(0x5410));
  auto take = [&](int64_t first, int64_t second) {
    return k.permuteBytes(words[first], words[second], selector);
  };
  SmallVector<Value> result;
  if (!isNibbles()) {
    for (int64_t i = 0; i < products(); ++i) {
      Value word = take(2 * i, 2 * i + 1);
      llvm::append_range(result, encoding.getScheme() == r1::Scheme::FP8
                                     ? float8ToFloats(k, word)
                                     : bytesToFloats(k, word));
    }
    return result;
  }
  // The second half of 8 columns are upper nibbles. The products' first halves
  // go to lower nibbles and their second halves to upper ones.
  Value upper = k.less(k.i64(1), k.rem(k.lane, 4));
  Value shift = k.select(upper, k.i32(4), k.i32(0));
  auto nibbles = [&](int64_t first, int64_t second) {
    Value moved =
        arith::ShRUIOp::create(k.b, k.loc, take(first, second), shift);
    return k.and32(moved, 0x0f0f0f0f);
  };
  Value word = arith::OrIOp::create(
      k.b, k.loc, nibbles(0, 2),
      arith::ShLIOp::create(k.b, k.loc, nibbles(1, 3), k.i32(4)));
  auto [low, high] =
      lookUpNibbles(k, nibbleTable(k, encoding.getScheme(), step), word);
  for (Value bytes : {low, high}) {
    SmallVector<Value> floats = bytesToFloats(k, bytes);
    result.append({floats[0], floats[2], floats[1], floats[3]});
  }
  return result;
}

SmallVector<WarpgroupWeights::Operand, 4>
WarpgroupWeights::load(Kernel &k, Value panels, Value step, int64_t part,
                       ValueRange rowScales) const {
  SmallVector<Operand, 4> operands(products());
  if (!converts()) {
    Value half = k.mul(k.div(k.warp, kWarps / 2), kHalfBytes);
    Value first = k.describeMatrix(k.at(panels, half),
                                   {bytesOfStep, kColumnsBytes});
    for (auto [i, operand] : llvm::enumerate(operands))
      operand = {k.moved(first, i * 2 * kColumnsBytes)};
    return operands;
  }
  Type i32Type = k.b.getI32Type();
  Value panel = k.at(panels, k.mul(k.warp, bytesOfStep));
  Value firstRow = row(k, 0);

  // A word of a row has 4 columns, or 8.
  Value inWords = k.mul(firstRow, 4);
  if (!isNibbles())
    inWords = k.add(
        inWords, k.mul(k.div(k.rem(k.lane, 4), 2), kWordsBytes));
  int64_t stride = isNibbles() ? kWordsBytes : 2 * kWordsBytes;
  SmallVector<Value> words[2];
  for (int64_t i = 0; i < 2 * products(); ++i) {
    Value offset = k.add(inWords, quantsAt(part) + i * stride);
    Value pair = k.load(k.vecType(2, i32Type), k.at(panel, offset), 8);
    for (int64_t r = 0; r < 2; ++r)
      words[r].push_back(element(k, pair, r));
  }

  Value scales = k.at(panel, k.add(scalesAt(k, step, part),
                                   k.mul(firstRow, encoding.getScaleBytes())));
  bool isStep = encoding.getScaleBytes() == 1;
  Value pair = isStep ? Value(arith::ExtSIOp::create(
                            k.b, k.loc, k.vecType(2, i32Type),
                            k.load(k.vecType(2, k.b.getI8Type()), scales, 2)))
                      : k.load(k.f32Vec(2), scales, 8);
  for (int64_t r = 0; r < 2; ++r) {
    Value scale = element(k, pair, r);
    SmallVector<Value> own =
        values(k, words[r], isStep ? scale : Value());
    if (isStep)
      scale = k.mulf(arith::SIToFPOp::create(k.b, k.loc, k.f32Type(), scale),
                     rowScales[r]);
    for (Value &value : own)
      value = k.mulf(value, scale);
    for (int64_t i = 0; i < products(); ++i) {
      // Rows change faster than columns.
      operands[i].resize(4);
      operands[i][r] = k.packPair(own[4 * i], own[4 * i + 1]);
      operands[i][2 + r] = k.packPair(own[4 * i + 2], own[4 * i + 3]);
    }
  }
  return operands;
}
