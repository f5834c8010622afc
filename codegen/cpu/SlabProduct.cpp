//===- SlabProduct.cpp - Panels that are unpacked for many rows -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/SlabProduct.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = DotPrimitive::kPanel;

SmallVector<DotPrimitive::Row>
sputnik::cpu::tileRows(Phase &p, const DotPrimitive &dot, const Rows &input,
                       Value first, int64_t count) {
  SmallVector<DotPrimitive::Row> rows;
  for (int64_t t = 0; t < count; ++t) {
    Value row = count == 1 ? first
                           : p.min(p.add(first, t),
                                   p.sub(input.count, p.i64(1)));
    rows.push_back(dot.rowAt(p, p.rowPtr(input, row), input.features));
  }
  return rows;
}

SlabProduct::SlabProduct(Phase &phase, const DotPrimitive &dot,
                         const Rows &input, int64_t columns,
                         int64_t panelBytes, int64_t unitPanels, Tile tile)
    : p(phase), dot(dot), input(input), columns(columns),
      panelBytes(panelBytes), unitPanels(unitPanels), tile(tile),
      sums(p.allocateScratch(llvm::alignTo(p.attr.getMaxRows(), tile.rows) *
                             unitPanels * 64)) {
  if (dot.unpacks())
    slab = p.allocateScratch(tile.panels * dot.getUnpackedBytes());
  if (dot.usesTiles())
    tileBuffer = p.allocateScratch(TileDot::kBufferBytes);
}

Value SlabProduct::sumsAt(Value row) {
  return p.at(sums, p.mul(row, unitPanels * 64));
}

void SlabProduct::clearSums() {
  Value zero = p.splat(p.f32Vec(kPanel), 0.0);
  Value rows = p.mul(p.ceilDiv(input.count, tile.rows), tile.rows);
  p.loop(p.i64(0), rows, 1, [&](Value row) {
    for (int64_t panel = 0; panel < unitPanels; ++panel)
      p.store(zero, p.at(sumsAt(row), panel * 64), 64);
  });
}

void SlabProduct::multiply(Value address, int64_t panels) {
  int64_t wide = dot.getSlabColumns();
  clearSums();
  for (int64_t done = 0; done < panels; done += tile.panels) {
    int64_t count = std::min(tile.panels, panels - done);
    Value first = p.at(address, done * panelBytes);
    p.loop(p.i64(0), p.i64(columns / wide), 1, [&](Value index) {
      multiplySlab(first, done, count, index, wide);
    });
    if (int64_t rest = columns % wide)
      multiplySlab(first, done, count, p.i64(columns / wide), rest);
  }
}

/// Adds the products with `width` columns, slab number `index`, to the sums of
/// `count` panels, the first of which is number `inUnit` of its unit.
void SlabProduct::multiplySlab(Value address, int64_t inUnit, int64_t count,
                               Value index, int64_t width) {
  Value firstChunk = p.mul(index, dot.getSlabColumns() / dot.getChunk());
  PanelGroup packed{dot, {}};
  for (int64_t i = 0; i < count; ++i)
    packed.panels.push_back(
        dot.panelAt(p, p.at(address, i * panelBytes), columns));
  PanelGroup panels = packed;
  if (dot.unpacks()) {
    panels = {dot.getUnpacked(), {}};
    for (int64_t i = 0; i < count; ++i)
      panels.panels.push_back(
          dot.unpackedAt(p, p.at(slab, i * dot.getUnpackedBytes()), firstChunk,
                         packed.panels[i]));
    unpackSlab(packed, panels, index, width);
    prefetchNext(packed, index);
  }
  p.loop(p.i64(0), input.count, tile.rows, [&](Value row) {
    Value tileSums = p.at(sumsAt(row), inUnit * 64);
    dot.usesTiles() ? multiplyInTiles(panels, row, tileSums, index, width)
                    : multiplyTile(panels, row, tileSums, index, width);
  });
}

void SlabProduct::unpackSlab(const PanelGroup &packed,
                             const PanelGroup &unpacked, Value index,
                             int64_t width) {
  int64_t chunks = dot.getGroupChunks(), wide = chunks * dot.getChunk();
  auto unpackGroup = [&](Value group, int64_t exist) {
    for (auto [from, to] : llvm::zip_equal(packed.panels, unpacked.panels))
      for (int64_t chunk = 0; chunk * dot.getChunk() < exist; ++chunk)
        dot.unpack(p, from, {group, chunk}, to);
  };
  Value first = p.mul(index, dot.getSlabColumns() / wide);
  if (int64_t whole = width / wide)
    p.loop(first, p.add(first, whole), 1,
           [&](Value group) { unpackGroup(group, wide); });
  if (int64_t rest = width % wide)
    unpackGroup(p.add(first, width / wide), rest);
}

/// Asks for what is unpacked next, while rows are multiplied: the next slab of the
/// same panels, or behind the last the first one of those that follow.
void SlabProduct::prefetchNext(const PanelGroup &packed, Value index) {
  int64_t wide = dot.getSlabColumns();
  int64_t bytes = wide / (dot.getGroupChunks() * dot.getChunk()) *
                  dot.getGroupBytes();
  int64_t slabs = llvm::divideCeil(columns, wide);
  Value next = p.add(index, 1);
  Value offset = arith::SelectOp::create(
      p.b, p.loc, p.less(next, p.i64(slabs)), p.mul(next, bytes),
      p.i64(static_cast<int64_t>(packed.panels.size()) * panelBytes));
  for (const DotPrimitive::Panel &panel : packed.panels)
    for (int64_t line = 0; line < bytes; line += 64)
      LLVM::Prefetch::create(p.b, p.loc, p.at(p.at(panel.base, offset), line),
                             /*rw=*/0, /*hint=*/2, /*cache=*/1);
}

/// Adds the products of a tile's rows, the first of which is `row`, to their sums
/// at `tileSums`.
void SlabProduct::multiplyTile(const PanelGroup &panels, Value row,
                               Value tileSums, Value index, int64_t width) {
  Value first = p.rowPtr(input, row);
  SmallVector<DotPrimitive::Row> rows;
  for (int64_t t = 0; t < tile.rows; ++t)
    rows.push_back(dot.rowAt(p, p.at(first, p.mul(input.stride, t)), columns));
  auto placeOf = [&](int64_t i) {
    return p.at(tileSums, (i % tile.rows * unitPanels + i / tile.rows) * 64);
  };
  auto before = [&](int64_t i) {
    return p.load(p.f32Vec(kPanel), placeOf(i), 64);
  };
  SmallVector<Value> added(panels.panels.size() * tile.rows,
                           p.splat(p.f32Vec(kPanel), 0.0));
  if (!dot.scalesActivations())
    for (auto [i, sum] : llvm::enumerate(added))
      sum = before(i);
  // A chunk at a time: with more, LLVM's scheduler takes loads so far from their
  // use that registers do not suffice.
  int64_t chunk = dot.getChunk();
  Value begin = p.mul(index, dot.getSlabColumns() / chunk);
  if (int64_t whole = width / chunk)
    added = p.loop(begin, p.add(begin, whole), 1, added,
                   [&](Value group, ValueRange carried) {
                     return multiplyGroup(p, panels, rows, group, chunk,
                                          carried);
                   });
  if (int64_t rest = width % chunk)
    added = multiplyGroup(p, panels, rows, p.add(begin, width / chunk), rest,
                          added);
  for (auto [i, sum] : llvm::enumerate(added)) {
    if (dot.scalesActivations())
      sum = dot.finishGroup(p, sum, rows[i % tile.rows], index, before(i));
    p.store(sum, placeOf(i), 64);
  }
}

/// As multiplyTile, with rows in tile registers. Rows beyond the last are whatever
/// lies behind it.
void SlabProduct::multiplyInTiles(const PanelGroup &panels, Value row,
                                  Value tileSums, Value index, int64_t width) {
  TileDot tiles(p, panels.dot, tileBuffer);
  auto rowAt = [&](int64_t t) {
    return panels.dot.rowAt(p, p.rowPtr(input, p.add(row, t)), columns);
  };
  TileDot::RowBlock rows{rowAt(0), input.stride};
  auto placeOf = [&](size_t panel, int64_t t) {
    return p.at(tileSums, (t * unitPanels + panel) * 64);
  };
  if (!dot.unpacks()) {
    tiles.addColumns(panels.panels, rows, p.mul(index, dot.getSlabColumns()),
                     width, tileSums, p.i64(unitPanels * 64));
    return;
  }
  int64_t chunk = dot.getChunk();
  Value first = p.mul(index, dot.getSlabColumns() / chunk);
  Value end = p.add(first, llvm::divideCeil(width, chunk));
  for (auto [i, panel] : llvm::enumerate(panels.panels)) {
    auto before = [&](int64_t t) {
      return p.load(p.f32Vec(kPanel), placeOf(i, t), 64);
    };
    SmallVector<Value> added(tile.rows, p.splat(p.f32Vec(kPanel), 0.0));
    if (!dot.scalesActivations())
      for (int64_t t = 0; t < tile.rows; ++t)
        added[t] = before(t);
    added = p.loop(first, end, 1, added, [&](Value at, ValueRange carried) {
      return tiles.addChunk(panel, rows, at, carried);
    });
    for (int64_t t = 0; t < tile.rows; ++t) {
      Value sum = added[t];
      if (dot.scalesActivations())
        sum = dot.finishGroup(p, sum, rowAt(t), index, before(t));
      p.store(sum, placeOf(i, t), 64);
    }
  }
}
