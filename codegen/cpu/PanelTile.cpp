//===- PanelTile.cpp - Panels times rows in registers ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/PanelTile.h"

#include <numeric>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = DotPrimitive::kPanel;

Tile sputnik::cpu::chooseTile(r1::TargetAttr target, r1::PhaseKind phase,
                              bool blocks) {
  // Memory is read fastest as a single stream, but without blocks a single
  // panel is one chain of additions, slower than fast memory.
  if (phase == r1::PhaseKind::Decode)
    return {blocks ? 1 : 4, 1};
  // A sum of 16 rows takes 512 / vector_bits registers.
  int64_t perSum = std::max<int64_t>(1, 512 / target.getVectorBits());
  int64_t sums = target.getVectorRegisters() / perSum;
  bool many = phase == r1::PhaseKind::Prefill;
  // Blocks have partial sums beside the sums.
  if (blocks)
    return sums >= 32 ? (many ? Tile{4, 3} : Tile{1, 4})
                      : Tile{1, std::max<int64_t>(2, sums / 4)};
  if (sums >= 32)
    return many ? Tile{4, 6} : Tile{4, 4};
  return {1, std::max<int64_t>(2, sums / 2)};
}

Tile sputnik::cpu::chooseFewRowsTile(r1::TargetAttr target, r1::PhaseAttr phase,
                                     r1::EncodingAttr encoding) {
  bool blocks = encoding.getBlock();
  if (phase.getKind() == r1::PhaseKind::Decode)
    return chooseTile(target, phase.getKind(), blocks);
  int64_t perSum = std::max<int64_t>(1, 512 / target.getVectorBits());
  int64_t sums = target.getVectorRegisters() / perSum;
  // Without blocks there are no partial sums, and two panels share a load of
  // activations.
  Tile tile = blocks ? Tile{1, sums / 4} : Tile{sums >= 32 ? 2 : 1, sums / 4};
  tile.rows = std::min(std::max<int64_t>(2, tile.rows), phase.getMaxRows());
  return tile;
}

/// Memory answers late and a decode step reads every byte once: this many bytes
/// are asked for, over all panels, before they are used.
static constexpr int64_t kPrefetchAhead = 6144;

/// Asks for what lies ahead of the bytes [from, to) of a group.
static void prefetch(Emit &e, const PanelGroup &group, Value index,
                     int64_t from, int64_t to) {
  int64_t distance = kPrefetchAhead / group.panels.size();
  for (const DotPrimitive::Panel &panel : group.panels) {
    Value ahead = e.at(
        panel.base, e.add(e.mul(index, group.dot.getGroupBytes()), distance));
    for (int64_t line = llvm::alignTo(from, 64); line < to; line += 64)
      LLVM::Prefetch::create(e.b, e.loc, e.at(ahead, line), /*rw=*/0,
                             /*hint=*/3, /*cache=*/1);
  }
}

SmallVector<Value>
sputnik::cpu::multiplyGroup(Emit &e, const PanelGroup &group,
                            ArrayRef<DotPrimitive::Row> rows, Value index,
                            int64_t width, ValueRange carried) {
  const DotPrimitive &dot = group.dot;
  int64_t panelCount = group.panels.size(), rowCount = rows.size();
  int64_t lines = dot.getChunk() / dot.getLine();
  int64_t groupLines = lines * dot.getGroupChunks();
  int64_t together = dot.getRows(), sets = rowCount / together;
  assert(rowCount % together == 0 && "a tile has whole sets of rows");
  SmallVector<Value> sums(carried);
  auto sumsOf = [&](int64_t panel, int64_t set) {
    return MutableArrayRef(sums).slice(panel * rowCount + set * together,
                                       together);
  };
  auto rowsOf = [&](int64_t set) { return rows.slice(set * together, together); };
  for (int64_t done = 0; done < width; done += dot.getChunk()) {
    DotPrimitive::Chunk chunk{index, done / dot.getChunk()};
    int64_t chunkWidth = std::min(width - done, dot.getChunk());
    if (group.streams)
      e.keepMemoryOrder();
    SmallVector<Value> partial;
    for (int64_t i = 0; i < panelCount; ++i)
      for (int64_t t = 0; t < sets; ++t)
        partial.push_back(dot.begin(e, group.panels[i], rowsOf(t), chunk,
                                    ArrayRef<Value>(sumsOf(i, t))));
    for (int64_t line = 0; line * dot.getLine() < chunkWidth; ++line) {
      if (group.streams) {
        int64_t at = chunk.index * lines + line, bytes = dot.getGroupBytes();
        prefetch(e, group, index, bytes * at / groupLines,
                 bytes * (at + 1) / groupLines);
      }
      int64_t exist =
          std::min(chunkWidth - line * dot.getLine(), dot.getLine());
      SmallVector<DotPrimitive::Operand> x;
      for (int64_t t = 0; t < sets; ++t)
        x.push_back(dot.loadActivations(e, rowsOf(t), chunk, line, exist));
      for (int64_t i = 0; i < panelCount; ++i) {
        DotPrimitive::Operand w =
            dot.loadWeights(e, group.panels[i], chunk, line);
        for (int64_t t = 0; t < sets; ++t) {
          Value &sum = partial[i * sets + t];
          sum = dot.dot(e, w, x[t], sum);
        }
      }
    }
    for (int64_t i = 0; i < panelCount; ++i) {
      Value scales = dot.loadScales(e, group.panels[i], chunk);
      for (int64_t t = 0; t < sets; ++t)
        dot.finishChunk(e, partial[i * sets + t], scales, sumsOf(i, t));
    }
  }
  return sums;
}

TileSums sputnik::cpu::emitPanelTile(Emit &e, const DotPrimitive &dot,
                                     int64_t columns,
                                     ArrayRef<Value> panelAddresses,
                                     ArrayRef<DotPrimitive::Row> rows,
                                     bool streams) {
  int64_t panelCount = panelAddresses.size(), rowCount = rows.size();
  PanelGroup group{dot.forRows(rowCount), {}, streams};
  for (Value address : panelAddresses)
    group.panels.push_back(dot.panelAt(e, address, columns));
  Value zero = e.splat(e.f32Vec(kPanel), 0.0);
  int64_t narrow = dot.getChunk() * dot.getGroupChunks();
  int64_t wide = narrow * dot.getScaledGroups();

  // Columns that share a scale of the activations, of which `width` exist.
  auto multiply = [&](Value index, int64_t width, ValueRange carried) {
    SmallVector<Value> sums(carried);
    if (dot.scalesActivations())
      sums.assign(carried.size(), zero);
    auto multiplyAt = [&](Value done, int64_t exist, ValueRange sums) {
      Value at = e.add(e.mul(index, dot.getScaledGroups()), done);
      return multiplyGroup(e, group, rows, at, exist, sums);
    };
    // A loop of its own, since hardware follows a load only where it moves on
    // by less than 2 KiB each time.
    int64_t whole = width / narrow;
    if (whole == 1)
      sums = multiplyAt(e.i64(0), narrow, sums);
    else if (whole)
      sums = e.loop(e.i64(0), e.i64(whole), 1, sums,
                    [&](Value done, ValueRange carried) {
                      return multiplyAt(done, narrow, carried);
                    });
    if (int64_t rest = width % narrow)
      sums = multiplyAt(e.i64(whole), rest, sums);
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = dot.finishGroup(e, sum, rows[i % rowCount], index, carried[i]);
    return sums;
  };
  SmallVector<Value> sums(panelCount * rowCount, zero);
  if (int64_t whole = columns / wide)
    sums = e.loop(e.i64(0), e.i64(whole), 1, sums,
                  [&](Value index, ValueRange carried) {
                    return multiply(index, wide, carried);
                  });
  if (int64_t rest = columns % wide)
    sums = multiply(e.i64(columns / wide), rest, sums);
  TileSums result(panelCount);
  for (int64_t i = 0; i < panelCount; ++i)
    for (int64_t t = 0; t < rowCount; ++t)
      result[i].push_back(
          dot.scaleRows(e, group.panels[i], sums[i * rowCount + t]));
  return result;
}

Value sputnik::cpu::laneIndices(Emit &e) {
  SmallVector<int32_t> lanes(kPanel);
  std::iota(lanes.begin(), lanes.end(), 0);
  Type words = e.vecType(kPanel, e.b.getI32Type());
  return arith::ConstantOp::create(
      e.b, e.loc,
      DenseElementsAttr::get(cast<VectorType>(words), ArrayRef(lanes)));
}

void sputnik::cpu::storeLanes(Emit &e, Value value, Value ptr, Value count) {
  Value left =
      arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), count);
  Value mask = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::slt,
                                     laneIndices(e),
                                     e.broadcast(left, kPanel));
  LLVM::MaskedStoreOp::create(e.b, e.loc, value, ptr, mask, 4);
}
