//===- DotPrimitive.cpp - The inner product of a target -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/DotPrimitive.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = DotPrimitive::kPanel;

FailureOr<DotPrimitive> DotPrimitive::get(r1::EncodingAttr encoding,
                                          Type element, r1::TargetAttr target) {
  if (encoding.getPanel() != kPanel)
    return failure();
  bool blocks = encoding.getBlock();
  int64_t step = blocks                                        ? 4
                 : encoding.getScheme() == r1::Scheme::BF16 ? 2
                                                            : 1;
  if (encoding.getStep() != step)
    return failure();
  FailureOr<ByteDot> bytes = ByteDot::get(target);
  if (element.isF32()) {
    DotPrimitive result(Kind::FMA, encoding, target);
    if (succeeded(bytes))
      result.bytes = *bytes;
    return result;
  }
  r1::Scheme scheme = encoding.getScheme();
  if (element.isBF16() && target.getBf16Dot() != r1::DotKind::FMA &&
      (scheme == r1::Scheme::BF16 || scheme == r1::Scheme::FP8))
    return DotPrimitive(Kind::BF16Dot, encoding, target);
  if (!element.isInteger(8) || !blocks || scheme == r1::Scheme::FP8 ||
      failed(bytes))
    return failure();
  DotPrimitive result(Kind::Int8Dot, encoding, target);
  result.bytes = *bytes;
  return result;
}

static bool isNibbles(r1::EncodingAttr encoding) {
  return encoding.getScheme() == r1::Scheme::Q4 ||
         encoding.getScheme() == r1::Scheme::Q4Plain;
}

/// What a nibble stands for, times the scale, where the step is even.
static int64_t nibbleValue(r1::EncodingAttr encoding, int64_t nibble) {
  return encoding.getScheme() == r1::Scheme::Q4 ? r1::kQ4Table[nibble]
                                                : nibble - 8;
}

/// A table of 16 bytes, as often as fits `size`: what a byte shuffle looks up.
static Value byteTable(Emit &e, int64_t size,
                       function_ref<int64_t(int64_t)> value) {
  SmallVector<int8_t> bytes;
  for (int64_t i = 0; i < size; ++i)
    bytes.push_back(static_cast<int8_t>(value(i % 16)));
  auto type = e.vecType(size, e.b.getI8Type());
  return arith::ConstantOp::create(
      e.b, e.loc, DenseElementsAttr::get(type, ArrayRef(bytes)));
}

void DotPrimitive::prepare(Emit &e) {
  if (isFloat8())
    float8.prepare(e, target);
  if (!bytes || !isNibbles(encoding))
    return;
  // Left to itself, LLVM would load these constants again at every use.
  int64_t size = bytes->getRegisterBytes();
  int64_t offset = kind == Kind::Int8Dot ? bytes->getWeightOffset() : 0;
  table = e.pin(byteTable(e, size, [&](int64_t i) {
    return nibbleValue(encoding, i) + offset;
  }));
  Value mask = e.pin(e.splat(e.vecType(size / 4, e.b.getI32Type()), 0x0f0f0f0f));
  nibbleMask = e.join(SmallVector<Value>(4 * kPanel / size, mask));
}

int64_t DotPrimitive::getChunk() const {
  // A part of a long block: code is made for all columns of a chunk.
  return encoding.getBlock() ? r1::kQuantBlock : encoding.getStep();
}

int64_t DotPrimitive::getGroupChunks() const {
  return kind == Kind::Int8Dot ? 4 : 1;
}

int64_t DotPrimitive::getGroupBytes() const {
  if (!encoding.getBlock())
    return 64;
  return getGroupChunks() * getChunk() * encoding.getGroupBytes() /
         (encoding.getGroupBlocks() * encoding.getBlock());
}

int64_t DotPrimitive::getScaledGroups() const {
  return kind == Kind::Int8Dot
             ? r1::kActivationGroup / (getGroupChunks() * getChunk())
             : 1;
}

int64_t DotPrimitive::getSlabGroups() const {
  return scalesActivations() ? getScaledGroups()
                             : encoding.getBlock() / getChunk();
}

int64_t DotPrimitive::getLine() const {
  if (unpacked)
    return getStep();
  return isNibbles(encoding) ? 2 * encoding.getStep() : encoding.getStep();
}

int64_t DotPrimitive::getStep() const {
  switch (kind) {
  case Kind::FMA:
    return 1;
  case Kind::BF16Dot:
    return 2;
  case Kind::Int8Dot:
    return inPairs() ? 8 : 4;
  }
  llvm_unreachable("every kind has a step");
}

Value DotPrimitive::indexOf(Emit &e, Chunk chunk) const {
  return e.add(e.mul(chunk.group, getGroupChunks()), chunk.index);
}

Value DotPrimitive::quantsAt(Emit &e, const Panel &panel, Chunk chunk) const {
  if (unpacked)
    return e.at(panel.base,
                e.mul(indexOf(e, chunk), getUnpackedChunkBytes()));
  if (!encoding.getBlock())
    return e.at(panel.base, e.mul(indexOf(e, chunk), 64));
  int64_t blocks = encoding.getGroupBlocks(), chunks = getGroupChunks();
  int64_t groupBytes = encoding.getGroupBytes();
  Value offset;
  if (isFloat8()) {
    int64_t parts = encoding.getBlock() / getChunk();
    Value index = indexOf(e, chunk);
    offset = e.add(e.mul(e.div(index, parts), groupBytes),
                   e.mul(e.rem(index, parts),
                         encoding.getBlockBytes() / parts));
    return e.at(panel.base, e.add(offset, encoding.getGroupScaleBytes()));
  }
  if (chunks % blocks == 0) {
    offset = e.mul(chunk.group, chunks / blocks * groupBytes);
    offset = e.add(offset, chunk.index / blocks * groupBytes +
                               chunk.index % blocks * encoding.getBlockBytes());
  } else {
    Value index = indexOf(e, chunk);
    offset = e.add(e.mul(e.div(index, blocks), groupBytes),
                   e.mul(e.rem(index, blocks), encoding.getBlockBytes()));
  }
  return e.at(panel.base, e.add(offset, encoding.getGroupScaleBytes()));
}

Value DotPrimitive::scalesAt(Emit &e, const Panel &panel, Chunk chunk) const {
  if (unpacked)
    return e.at(panel.scales, e.mul(indexOf(e, chunk), kPanel * 4));
  int64_t blocks = encoding.getGroupBlocks();
  Value index = e.div(indexOf(e, chunk), encoding.getBlock() / getChunk());
  return e.at(panel.base,
              e.add(e.mul(e.div(index, blocks), encoding.getGroupBytes()),
                    e.mul(e.rem(index, blocks),
                          kPanel * encoding.getScaleBytes())));
}

DotPrimitive::Panel DotPrimitive::panelAt(Emit &e, Value address,
                                          int64_t columns) const {
  Panel panel{address, nullptr, nullptr};
  if (encoding.getRowScaleBytes())
    panel.rowScales = e.at(address, encoding.getRowScaleOffset(columns));
  return panel;
}

DotPrimitive DotPrimitive::forRows(int64_t rows) const {
  constexpr int64_t kManyRows = 4;
  DotPrimitive result = *this;
  result.movesWeights = rows >= kManyRows;
  return result;
}

DotPrimitive DotPrimitive::getUnpacked() const {
  DotPrimitive result = *this;
  result.unpacked = true;
  return result;
}

int64_t DotPrimitive::getUnpackedBytes() const {
  return getSlabGroups() * getGroupChunks() *
         (getUnpackedChunkBytes() + kPanel * 4);
}

DotPrimitive::Panel DotPrimitive::unpackedAt(Emit &e, Value address,
                                             Value first,
                                             const Panel &packed) const {
  // Addresses as if the groups before the first were there too.
  int64_t chunks = getGroupChunks(), bytes = getUnpackedChunkBytes();
  Value base = e.at(address, e.mul(first, -chunks * bytes));
  Value scales = e.at(e.at(address, getSlabGroups() * chunks * bytes),
                      e.mul(first, -chunks * kPanel * 4));
  return {base, packed.rowScales, scales};
}

DotPrimitive::Row DotPrimitive::rowAt(Emit &e, Value address,
                                      int64_t columns) const {
  Row row{address, nullptr, nullptr};
  if (kind == Kind::Int8Dot) {
    int64_t quants = llvm::alignTo(columns, r1::kQuantBlock);
    int64_t groups = llvm::divideCeil(columns, r1::kActivationGroup);
    row.scales = e.at(address, quants);
    row.corrections = e.at(address, quants + groups * 4);
  }
  return row;
}

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

/// Splits a line of nibbles into the nibbles of the first and of the second
/// four columns, a byte each.
static std::pair<Value, Value> splitNibbles(Emit &e, Value words, Value mask) {
  Type type = words.getType();
  Value low = arith::AndIOp::create(e.b, e.loc, words, mask);
  Value high = arith::ShRUIOp::create(e.b, e.loc, words, e.splat(type, 4));
  return {low, arith::AndIOp::create(e.b, e.loc, high, mask)};
}

/// The words that are odd.
static Value isOdd(Emit &e, Value words) {
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
  if (!isNibbles(encoding)) {
    if (!integer)
      return unpackBytes(e, loaded);
    if (!bytes->getWeightOffset())
      return {loaded};
    // Weights are moved up by 128, which the activations' corrections take back.
    return {arith::XOrIOp::create(e.b, e.loc, loaded,
                                  e.splat(words, int32_t(0x80808080)))};
  }
  auto [low, high] = splitNibbles(
      e, loaded, nibbleMask ? nibbleMask : e.splat(words, 0x0f0f0f0f));
  Operand result;
  Value shift;
  if (hasTwoTables() && (movesWeights || !integer))
    shift = arith::SelectOp::create(
        e.b, e.loc, isOdd(e, loadSteps(e, panel, chunk)),
        e.splat(words, r1::kQ4Shift * 0x01010101), e.splat(words, 0));
  if (bytes) {
    assert(table && "prepared before the loops");
    for (Value nibbles : {low, high}) {
      Value w = bytes->lookUp(e, table, nibbles);
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
  // Without byte shuffles four columns are four lookups in a table of floats.
  SmallVector<float> floats;
  for (int64_t i = 0; i < 16; ++i)
    floats.push_back(static_cast<float>(nibbleValue(encoding, i)));
  if (shift) // The same number, from the lowest byte of each word.
    shift = arith::SIToFPOp::create(e.b, e.loc, e.f32Vec(kPanel),
                                    signedByte(e, shift, 0));
  for (Value nibbles : {low, high})
    for (int64_t i = 0; i < 4; ++i) {
      Value index = arith::AndIOp::create(
          e.b, e.loc,
          arith::ShRUIOp::create(e.b, e.loc, nibbles, e.splat(words, 8 * i)),
          e.splat(words, 15));
      Value value;
      if (encoding.getScheme() == r1::Scheme::Q4Plain) {
        value = arith::SIToFPOp::create(
            e.b, e.loc, e.f32Vec(kPanel),
            arith::SubIOp::create(e.b, e.loc, index, e.splat(words, 8)));
      } else {
        // Selects by the bits of the index: a tree of 15 blends of constants.
        SmallVector<Value> level;
        for (float f : floats)
          level.push_back(e.splat(e.f32Vec(kPanel), f));
        for (int64_t bit = 0; bit < 4; ++bit) {
          Value set = arith::CmpIOp::create(
              e.b, e.loc, arith::CmpIPredicate::ne,
              arith::AndIOp::create(e.b, e.loc, index,
                                    e.splat(words, 1 << bit)),
              e.splat(words, 0));
          SmallVector<Value> next;
          for (size_t j = 0; j < level.size(); j += 2)
            next.push_back(arith::SelectOp::create(e.b, e.loc, set,
                                                   level[j + 1], level[j]));
          level = next;
        }
        value = shift ? e.addf(level[0], shift) : level[0];
      }
      result.push_back(value);
    }
  return result;
}

DotPrimitive::Operand DotPrimitive::loadActivations(Emit &e, ArrayRef<Row> rows,
                                                    Chunk chunk, int64_t line,
                                                    int64_t columns) const {
  Value first =
      e.add(e.mul(chunk.group, getGroupChunks() * getChunk()),
            chunk.index * getChunk() + line * getLine());
  if (inPairs()) {
    SmallVector<Value> eights;
    for (const Row &row : rows)
      eights.push_back(e.load(e.i64Type(), e.at(row.values, first), 4));
    Value pair = vector::FromElementsOp::create(
        e.b, e.loc, e.vecType(2, e.i64Type()), eights);
    return {LLVM::BitcastOp::create(e.b, e.loc,
                                    e.vecType(4, e.b.getI32Type()), pair)};
  }
  const Row &row = rows.front();
  Operand result;
  for (int64_t column = 0; column < getLine(); column += getStep()) {
    int64_t exist = columns - column;
    switch (kind) {
    case Kind::FMA: {
      Value x = exist > 0 ? e.load(e.f32Type(),
                                   e.at(row.values, e.mul(e.add(first, column), 4)), 4)
                          : e.f32(0.0f);
      result.push_back(e.broadcast(x, kPanel));
      break;
    }
    case Kind::BF16Dot: {
      Value pair = exist > 0
                       ? e.load(e.b.getI32Type(),
                                e.at(row.values, e.mul(e.add(first, column), 2)),
                                4)
                       : e.i32(0);
      if (exist == 1)
        pair = arith::AndIOp::create(e.b, e.loc, pair, e.i32(0xffff));
      result.push_back(LLVM::BitcastOp::create(
          e.b, e.loc, e.vecType(2 * kPanel, e.b.getBF16Type()),
          e.broadcast(pair, kPanel)));
      break;
    }
    case Kind::Int8Dot: // Rows are filled up to whole blocks with zeros.
      result.push_back(e.broadcast(
          e.load(e.b.getI32Type(), e.at(row.values, e.add(first, column)), 4),
          kPanel));
      break;
    }
  }
  return result;
}

Value DotPrimitive::begin(Emit &e, const Panel &panel, ArrayRef<Row> rows,
                          Chunk chunk, ValueRange sums) const {
  if (kind != Kind::Int8Dot)
    return encoding.getBlock() ? peakZero(e) : sums.front();
  bool mayShift = hasTwoTables() && !movesWeights;
  if (!bytes->getWeightOffset() && !mayShift)
    return peakZero(e);
  Value correction = e.load(
      e.b.getI32Type(),
      e.at(rows.front().corrections, e.mul(indexOf(e, chunk), 4)), 4);
  Value start = bytes->getWeightOffset() ? correction : e.i32(0);
  Value even = e.broadcast(start, kPanel);
  if (!mayShift)
    return even;
  // The correction is -128 times the sum of the row's bytes; a table moved by
  // 4 adds 4 times that sum.
  static_assert(r1::kQ4Shift == 128 >> 5);
  Value part =
      arith::ShRSIOp::create(e.b, e.loc, correction, e.i32(5));
  Value odd = e.broadcast(arith::SubIOp::create(e.b, e.loc, start, part), kPanel);
  return arith::SelectOp::create(
      e.b, e.loc, isOdd(e, loadSteps(e, panel, chunk)), odd, even);
}

Value DotPrimitive::dot(Emit &e, const Operand &weights,
                        const Operand &activations, Value partial) const {
  for (auto [w, x] : llvm::zip_equal(weights, activations))
    partial = peak(e, w, x, partial);
  return partial;
}

Value DotPrimitive::loadScales(Emit &e, const Panel &panel, Chunk chunk) const {
  if (!encoding.getBlock())
    return nullptr;
  if (encoding.getScheme() == r1::Scheme::Q4 && !unpacked)
    return arith::SIToFPOp::create(e.b, e.loc, e.f32Vec(kPanel),
                                   loadSteps(e, panel, chunk));
  return e.load(e.f32Vec(kPanel), scalesAt(e, panel, chunk), 4);
}

void DotPrimitive::finishChunk(Emit &e, Value partial, Value scales,
                               MutableArrayRef<Value> sums) const {
  if (!encoding.getBlock()) {
    sums.front() = partial;
    return;
  }
  for (auto [i, sum] : llvm::enumerate(sums)) {
    Value part = partial;
    if (inPairs()) {
      SmallVector<int64_t> lanes;
      for (int64_t row = 0; row < kPanel; ++row)
        lanes.push_back(2 * row + i);
      part = vector::ShuffleOp::create(e.b, e.loc, part, part, lanes);
    }
    if (kind == Kind::Int8Dot)
      part = arith::SIToFPOp::create(e.b, e.loc, e.f32Vec(kPanel), part);
    sum = e.fma(part, scales, sum);
  }
}

Value DotPrimitive::finishGroup(Emit &e, Value added, const Row &row,
                                Value index, Value sum) const {
  if (kind != Kind::Int8Dot)
    return added;
  Value scale = e.load(e.f32Type(), e.at(row.scales, e.mul(index, 4)), 4);
  return e.fma(added, e.broadcast(scale, kPanel), sum);
}

void DotPrimitive::unpack(Emit &e, const Panel &packed, Chunk chunk,
                          const Panel &to) const {
  DotPrimitive reader = getUnpacked();
  Value address = reader.quantsAt(e, to, chunk);
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
  e.store(loadScales(e, packed, chunk), reader.scalesAt(e, to, chunk), 64);
}

Value DotPrimitive::scaleRows(Emit &e, const Panel &panel, Value sum) const {
  if (!panel.rowScales)
    return sum;
  return e.mulf(sum, e.load(e.f32Vec(kPanel), panel.rowScales, 4));
}

int64_t DotPrimitive::getPeakColumns() const { return getStep() * getRows(); }

std::pair<Value, Value> DotPrimitive::peakOperands(Emit &e,
                                                   Value memory) const {
  if (inPairs())
    return {e.load(e.vecType(2 * kPanel, e.b.getI32Type()), memory, 64),
            e.load(e.vecType(4, e.b.getI32Type()), memory, 64)};
  Type type = kind == Kind::FMA       ? Type(e.f32Vec(kPanel))
              : kind == Kind::BF16Dot ? Type(e.vecType(2 * kPanel, e.b.getBF16Type()))
                                      : Type(e.vecType(kPanel, e.b.getI32Type()));
  return {e.load(type, memory, 64), e.load(type, memory, 64)};
}

Value DotPrimitive::peakZero(Emit &e) const {
  return kind == Kind::Int8Dot
             ? e.splat(e.vecType(getRows() * kPanel, e.b.getI32Type()), 0)
             : e.splat(e.f32Vec(kPanel), 0.0);
}

/// The sums of products of pairs of bf16.
static Value multiplyPairs(Emit &e, r1::DotKind kind, Value w, Value x,
                           Value sum) {
  if (kind == r1::DotKind::AVX512BF16)
    return callIntrinsic(e, "llvm.x86.avx512bf16.dpbf16ps.512", sum.getType(),
                         {sum, w, x});
  SmallVector<Value> result;
  for (auto [a, b, s] :
       llvm::zip_equal(e.split(w, 4), e.split(x, 4), e.split(sum, 4)))
    result.push_back(callIntrinsic(e, "llvm.aarch64.neon.bfdot.v4f32.v8bf16",
                                   s.getType(), {s, a, b}));
  return e.join(result);
}

Value DotPrimitive::peak(Emit &e, Value w, Value x, Value sum) const {
  switch (kind) {
  case Kind::FMA:
    return e.fma(w, x, sum);
  case Kind::BF16Dot:
    return multiplyPairs(e, target.getBf16Dot(), w, x, sum);
  case Kind::Int8Dot:
    return inPairs() ? bytes->multiplyPair(e, w, x, sum)
                     : bytes->multiply(e, w, x, sum);
  }
  llvm_unreachable("every kind multiplies");
}

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
  if (!isNibbles(encoding)) {
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
  Value value = e.f32(static_cast<float>(nibbleValue(encoding, 0)));
  for (int64_t i = 1; i < 16; ++i)
    value = arith::SelectOp::create(
        e.b, e.loc, e.equal(nibble, e.i64(i)),
        e.f32(static_cast<float>(nibbleValue(encoding, i))), value);
  if (moved)
    value = e.addf(value, moved);
  return e.mulf(value, scale);
}
