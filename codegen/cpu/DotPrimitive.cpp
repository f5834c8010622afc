//===- DotPrimitive.cpp - The inner product of a target -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/DotPrimitive.h"

#include "codegen/cpu/Target.h"
#include "codegen/cpu/TileRegisters.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

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

bool DotPrimitive::canUseTiles(r1::TargetAttr target, r1::PhaseAttr phase,
                               int64_t columns) const {
  // Rows that are beyond the last but in one tile with it are computed too: they
  // must lie in memory.
  return phase.getKind() == r1::PhaseKind::Prefill &&
         phase.getMaxRows() % TileRegisters::kRows == 0 &&
         target.getVectorBits() == 512 &&
         (kind == Kind::Int8Dot
              ? hasFeature(target, "amx-int8")
              : kind == Kind::BF16Dot &&
                    columns % (encoding.getBlock() ? getChunk() : 2) == 0 &&
                    hasFeature(target, "amx-bf16"));
}

DotPrimitive DotPrimitive::forRows(int64_t rows) const {
  constexpr int64_t kManyRows = 4;
  DotPrimitive result = *this;
  result.movesWeights = rows >= kManyRows;
  return result;
}

void DotPrimitive::useTiles() {
  tiles = true;
  if (bytes)
    bytes->keepSigned();
}

void DotPrimitive::prepare(Emit &e) {
  if (isFloat8())
    float8.prepare(e, target);
  if (bytes && isNibbles())
    nibbles.prepare(e, *bytes,
                    kind == Kind::Int8Dot ? bytes->getWeightOffset() : 0);
}

int64_t DotPrimitive::getChunk() const {
  // A part of a long block: code is made for all columns of a chunk.
  return encoding.getBlock() ? r1::kQuantBlock : encoding.getStep();
}

int64_t DotPrimitive::getGroupChunks() const {
  return kind == Kind::Int8Dot && !unpacked ? 4 : 1;
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

int64_t DotPrimitive::getSlabColumns() const {
  return kind == Kind::BF16Dot && encoding.getBlock() ? encoding.getBlock()
                                                      : r1::kActivationGroup;
}

int64_t DotPrimitive::getLine() const {
  if (unpacked)
    return getStep();
  return isNibbles() ? 2 * encoding.getStep() : encoding.getStep();
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
  correction = e.broadcast(correction, kPanel);
  Type words = correction.getType();
  Value even = bytes->getWeightOffset() ? correction : e.splat(words, 0);
  if (!mayShift)
    return even;
  // The correction is -128 times the sum of the row's bytes; a table moved by
  // 4 adds 4 times that sum.
  static_assert(r1::kQ4Shift == 128 >> 5);
  Value part = arith::ShRSIOp::create(e.b, e.loc, correction, e.splat(words, 5));
  Value odd = arith::SubIOp::create(e.b, e.loc, even, part);
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
