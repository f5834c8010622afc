//===- PanelFragments.cpp - Packed rows as matrix fragments ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/PanelFragments.h"

#include "codegen/gpu/Float8.h"
#include "codegen/gpu/Nibbles.h"
#include "codegen/gpu/PanelDot.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Blocks in a step of bytes, and 16-byte pieces of a step of a row.
static constexpr int64_t kBlocks = PanelFragments::kRowBytes / r1::kQuantBlock;
/// Products of bf16 in a step.
static constexpr int64_t kProducts = 4;

bool PanelFragments::supports(r1::EncodingAttr encoding) {
  if (!encoding || encoding.getPanel() != kPanel)
    return false;
  switch (encoding.getScheme()) {
  case r1::Scheme::BF16:
    return encoding.getStep() == 8;
  case r1::Scheme::Q8:
  case r1::Scheme::Q4:
  case r1::Scheme::Q4Plain:
  case r1::Scheme::FP8:
    return true;
  case r1::Scheme::F32:
    return false;
  }
  return false;
}

PanelFragments::PanelFragments(r1::EncodingAttr encoding)
    : encoding(encoding),
      integer(encoding.getBlock() != 0 && !isFloat8()) {}

/// Bytes of the values of a step of a panel in fp8.
static constexpr int64_t kFloat8StepBytes =
    kPanel * PanelFragments::kRowBytes / 2;

int64_t PanelFragments::panelStepBytes() const {
  if (isFloat8())
    return encoding.getGroupScaleBytes() + kFloat8StepBytes;
  return integer ? groupOffset(kBlocks) : kPanel * kRowBytes;
}

int64_t PanelFragments::panelBytes(int64_t columns) const {
  return integer ? encoding.getRowScaleBytes()
                       ? encoding.getRowScaleOffset(columns)
                       : encoding.getPanelBytes(columns)
                 : encoding.getPanelBytes(columns);
}

/// Where the group of a block begins, in a step.
int64_t PanelFragments::groupOffset(int64_t block) const {
  return block / encoding.getGroupBlocks() * encoding.getGroupBytes();
}

//===----------------------------------------------------------------------===//
// Places in shared memory
//===----------------------------------------------------------------------===//

static Value exclusiveOr(Kernel &k, Value a, Value c) {
  return k.b.createOrFold<arith::XOrIOp>(k.loc, a, c);
}

Value PanelFragments::offsetInImage(Kernel &k, Value step,
                                    Value offset) const {
  if (!isFloat8())
    return k.add(k.mul(step, panelStepBytes()), offset);
  int64_t together = encoding.getBlockBytes() / kFloat8StepBytes;
  Value block = k.mul(k.div(step, together), encoding.getGroupBytes());
  Value isScale = k.less(offset, k.i64(encoding.getGroupScaleBytes()));
  Value part = k.select(isScale, k.i64(0),
                        k.mul(k.rem(step, together), kFloat8StepBytes));
  return k.add(block, k.add(part, offset));
}

/// Lanes read two rows of the same piece of four parts, 64 bytes apart: every
/// other 128 bytes are moved by half of that.
Value PanelFragments::placeInPanel(Kernel &k, Value offset) const {
  if (!converts())
    return offset;
  return exclusiveOr(k, offset, k.mul(k.rem(k.div(offset, 128), 2), 32));
}

/// Eight rows are read together in pieces of 16 bytes, or four in pieces of 32.
Value PanelFragments::placeInRow(Kernel &k, Value row, Value offset) const {
  Value moved =
      isNibbles() || isFloat8() ? k.mul(k.rem(row, 4), 32) : k.mul(k.rem(row, 8), 16);
  return k.add(k.mul(row, kRowBytes), exclusiveOr(k, offset, moved));
}

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

static Value element(Kernel &k, Value vector, int64_t i) {
  return LLVM::ExtractElementOp::create(k.b, k.loc, vector, k.i32(i));
}

SmallVector<Value> PanelFragments::loadRows(Kernel &k, Value rows,
                                            Value firstRow,
                                            int64_t half) const {
  int64_t begin = half * kRowBytes / 2;
  if (!isNibbles() && !isFloat8()) {
    // 8 rows by 16 bytes of four consecutive pieces.
    Value row = k.add(firstRow, k.rem(k.lane, 8));
    Value offset = k.add(k.mul(k.div(k.lane, 8), 16), begin);
    return k.loadMatrices(k.at(rows, placeInRow(k, row, offset)));
  }
  // A lane has the columns of its weights: 8 whose nibbles lie together, or 4.
  SmallVector<Value> words;
  for (int64_t block = 0; block < 2; ++block) {
    Value row = k.add(firstRow, k.div(k.lane, 4));
    Value offset =
        k.add(k.mul(k.rem(k.lane, 4), 8), begin + block * r1::kQuantBlock);
    Value pair = k.load(k.vecType(2, k.b.getI32Type()),
                        k.at(rows, placeInRow(k, row, offset)), 8);
    Value first = element(k, pair, 0), last = element(k, pair, 1);
    if (isNibbles())
      llvm::append_range(words, inNibbleOrder(k, first, last));
    else
      words.append({first, last});
  }
  return words;
}

/// The left operand of a block: features 2 (lane / 4) and the next.
SmallVector<Value> PanelFragments::loadBlock(Kernel &k, Value panel,
                                             int64_t block) const {
  int64_t quants = groupOffset(block) + encoding.getGroupScaleBytes() +
                   block % encoding.getGroupBlocks() * encoding.getBlockBytes();
  Value place = k.rem(k.lane, 4), rows = k.mul(k.div(k.lane, 4), 8);
  auto part = [&](int64_t first) {
    Value offset = k.add(k.add(k.mul(place, 64), rows), quants + first * 64);
    Value pair = k.load(k.vecType(2, k.b.getI32Type()),
                        k.at(panel, placeInPanel(k, offset)), 8);
    return SmallVector<Value>{element(k, pair, 0), element(k, pair, 1)};
  };
  SmallVector<Value> words = part(0);
  if (!isNibbles()) {
    llvm::append_range(words, part(4));
    return words;
  }
  SmallVector<Value> bytes(4);
  SmallVector<Value> steps = loadSteps(k, panel, block);
  for (int64_t row = 0; row < 2; ++row) {
    NibbleTable table = nibbleTable(k, encoding.getScheme(),
                                    steps.empty() ? Value() : steps[row]);
    std::tie(bytes[row], bytes[row + 2]) =
        lookUpNibbles(k, table, words[row]);
  }
  return bytes;
}

/// Of q4: the steps of this lane's two features.
SmallVector<Value> PanelFragments::loadSteps(Kernel &k, Value panel,
                                             int64_t block) const {
  if (encoding.getScheme() != r1::Scheme::Q4)
    return {};
  int64_t inGroup = block % encoding.getGroupBlocks() * kPanel;
  Value offset =
      k.add(k.mul(k.div(k.lane, 4), 2), groupOffset(block) + inGroup);
  Value pair =
      arith::ExtSIOp::create(k.b, k.loc, k.vecType(2, k.b.getI32Type()),
                             k.load(k.vecType(2, k.b.getI8Type()),
                                    k.at(panel, placeInPanel(k, offset)), 2));
  return {element(k, pair, 0), element(k, pair, 1)};
}

/// The scales of this lane's two features, but for those of whole rows.
SmallVector<Value> PanelFragments::loadScales(Kernel &k, Value panel,
                                              int64_t block) const {
  SmallVector<Value> scales = loadSteps(k, panel, block);
  if (!scales.empty()) {
    for (Value &scale : scales)
      scale = arith::SIToFPOp::create(k.b, k.loc, k.f32Type(), scale);
    return scales;
  }
  int64_t inGroup = block % encoding.getGroupBlocks() * kPanel * 4;
  Value offset =
      k.add(k.mul(k.div(k.lane, 4), 8), groupOffset(block) + inGroup);
  Value pair = k.load(k.f32Vec(2), k.at(panel, placeInPanel(k, offset)), 8);
  return {element(k, pair, 0), element(k, pair, 1)};
}

Value PanelFragments::feature(Kernel &k, int64_t i) const {
  Value group = k.div(k.lane, 4);
  return converts() ? k.add(k.mul(group, 2), i / 2)
                    : k.add(group, i / 2 * 8);
}

Value PanelFragments::row(Kernel &k, int64_t i) const {
  return k.add(k.mul(k.rem(k.lane, 4), 2), i % 2);
}

Value PanelFragments::featureScale(Kernel &k, Value panel, int64_t columns,
                                   Value feature) const {
  if (!encoding.getRowScaleBytes())
    return Value();
  Value offset = k.add(k.mul(feature, 4), encoding.getRowScaleOffset(columns));
  return k.load(k.f32Type(), k.at(panel, offset), 4);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

PanelFragments::Sums PanelFragments::multiply(Kernel &k, const Step &step,
                                              const Tile &tile,
                                              ValueRange sums) const {
  return integer      ? multiplyBytes(k, step, tile, sums)
         : isFloat8() ? multiplyFloat8(k, step, tile, sums)
                      : multiplyFloats(k, step, tile, sums);
}

PanelFragments::Sums PanelFragments::multiplyFloat8(Kernel &k, const Step &step,
                                                    const Tile &tile,
                                                    ValueRange before) const {
  Sums sums(before);
  SmallVector<SmallVector<Value>> rows;
  for (int64_t n = 0; n < tile.rowGroups; ++n) {
    Value first = k.add(tile.firstRow, 8 * n);
    rows.push_back(loadRows(k, step.rows, first, 0));
    llvm::append_range(rows.back(), loadRows(k, step.rows, first, 1));
  }
  Value panels = k.at(step.panels, k.mul(tile.firstPanel, panelStepBytes()));
  Value place = k.rem(k.lane, 4), pairOfRows = k.mul(k.div(k.lane, 4), 8);
  for (int64_t m = 0; m < tile.panels; ++m) {
    Value panel = k.at(panels, m * panelStepBytes());
    Sums unscaled(4 * tile.rowGroups, k.f32(0));
    for (int64_t i = 0; i < kProducts; ++i) {
      // Four columns of rows 2 (lane / 4) and the next.
      Value offset = k.add(k.add(k.mul(place, 64), pairOfRows),
                           encoding.getGroupScaleBytes() + i * 256);
      Value words = k.load(k.vecType(2, k.b.getI32Type()),
                           k.at(panel, placeInPanel(k, offset)), 8);
      SmallVector<Value> first = float8ToPairs(k, element(k, words, 0));
      SmallVector<Value> second = float8ToPairs(k, element(k, words, 1));
      SmallVector<Value> weights = {first[0], second[0], first[1], second[1]};
      for (int64_t n = 0; n < tile.rowGroups; ++n) {
        auto own = MutableArrayRef(unscaled).slice(4 * n, 4);
        llvm::copy(k.multiplyMatrices(weights,
                                      ArrayRef(rows[n]).slice(2 * i, 2), own),
                   own.begin());
      }
    }
    SmallVector<Value> scales = loadScales(k, panel, 0);
    for (int64_t n = 0; n < tile.rowGroups; ++n)
      for (int64_t i = 0; i < 4; ++i) {
        Value &sum = sums[4 * (m * tile.rowGroups + n) + i];
        sum = k.fma(unscaled[4 * n + i], scales[i / 2], sum);
      }
  }
  return sums;
}

PanelFragments::Sums PanelFragments::multiplyFloats(Kernel &k, const Step &step,
                                                    const Tile &tile,
                                                    ValueRange before) const {
  Sums sums(before);
  Value panels = k.at(step.panels, k.mul(tile.firstPanel, panelStepBytes()));
  for (int64_t half = 0; half < 2; ++half) {
    SmallVector<SmallVector<Value>> rows;
    for (int64_t n = 0; n < tile.rowGroups; ++n)
      rows.push_back(loadRows(k, step.rows, k.add(tile.firstRow, 8 * n), half));
    for (int64_t i = 0; i < kProducts / 2; ++i)
      for (int64_t m = 0; m < tile.panels; ++m) {
        // 16 rows by 16 columns of a panel are 512 consecutive bytes.
        int64_t chunk = half * kProducts / 2 + i;
        SmallVector<Value> weights = k.loadMatrices(
            k.at(panels,
                 k.add(k.mul(k.lane, 16), m * panelStepBytes() + chunk * 512)));
        for (int64_t n = 0; n < tile.rowGroups; ++n) {
          auto own =
              MutableArrayRef(sums).slice(4 * (m * tile.rowGroups + n), 4);
          llvm::copy(k.multiplyMatrices(weights,
                                        ArrayRef(rows[n]).slice(2 * i, 2), own),
                     own.begin());
        }
      }
  }
  return sums;
}

/// 1.5 * 2^23: added to the bits of an integer below 2^22 it gives the bits of
/// the sum of both as a float, which costs less than a conversion.
static constexpr int32_t kMagicBits = 0x4b400000;
static constexpr float kMagic = 12582912.0f;

PanelFragments::Sums PanelFragments::multiplyBytes(Kernel &k, const Step &step,
                                                   const Tile &tile,
                                                   ValueRange before) const {
  Sums sums(before);
  SmallVector<SmallVector<Value>> rows, rowScales;
  for (int64_t n = 0; n < tile.rowGroups; ++n) {
    Value first = k.add(tile.firstRow, 8 * n);
    rows.push_back(loadRows(k, step.rows, first, 0));
    llvm::append_range(rows.back(), loadRows(k, step.rows, first, 1));
    Value pair = k.load(
        k.f32Vec(2), k.at(step.scales, k.mul(k.add(first, row(k, 0)), 4)), 8);
    rowScales.push_back({element(k, pair, 0), element(k, pair, 1)});
  }
  Value panels = k.at(step.panels, k.mul(tile.firstPanel, panelStepBytes()));
  for (int64_t m = 0; m < tile.panels; ++m) {
    Value panel = k.at(panels, m * panelStepBytes());
    Sums scaled(4 * tile.rowGroups, k.f32(0));
    for (int64_t block = 0; block < kBlocks; ++block) {
      SmallVector<Value> weights = loadBlock(k, panel, block);
      SmallVector<Value> scales = loadScales(k, panel, block);
      for (int64_t n = 0; n < tile.rowGroups; ++n) {
        SmallVector<Value> zeros(4, k.i32(kMagicBits));
        SmallVector<Value> products = k.multiplyMatrices(
            weights, ArrayRef(rows[n]).slice(2 * block, 2), zeros);
        for (int64_t i = 0; i < 4; ++i) {
          Value &sum = scaled[4 * n + i];
          Value product = k.subf(
              arith::BitcastOp::create(k.b, k.loc, k.f32Type(), products[i]),
              k.f32(kMagic));
          sum = k.fma(product, scales[i / 2], sum);
        }
      }
    }
    for (int64_t n = 0; n < tile.rowGroups; ++n)
      for (int64_t i = 0; i < 4; ++i) {
        Value &sum = sums[4 * (m * tile.rowGroups + n) + i];
        sum = k.fma(scaled[4 * n + i], rowScales[n][i % 2], sum);
      }
  }
  return sums;
}
