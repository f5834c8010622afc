//===- TileDot.cpp - Panels times rows in tile registers ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/TileDot.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kPanel = DotPrimitive::kPanel;
static constexpr int64_t kLine = TileRegisters::kRowBytes;
static constexpr TileRegisters::Shape kSums = {TileRegisters::kRows, kLine};

TileRegisters::Element TileDot::element() const {
  return dot.getKind() == DotPrimitive::Kind::BF16Dot
             ? TileRegisters::Element::BF16
             : TileRegisters::Element::SignedByte;
}

SmallVector<Value> TileDot::addChunk(const DotPrimitive::Panel &panel,
                                     const RowBlock &rows, Value chunk,
                                     ValueRange sums) {
  bool floats = element() == TileRegisters::Element::BF16;
  int64_t bytes = dot.getChunk() * (floats ? 2 : 1);
  Value x = tiles.load({kRows, bytes},
                       e.at(rows.first.values, e.mul(chunk, bytes)),
                       rows.stride);
  DotPrimitive::Chunk at{chunk, 0};
  Value w = tiles.load({bytes / 4, kLine}, dot.quantsAt(e, panel, at),
                       e.i64(kLine));
  Value product =
      tiles.multiply(element(), bytes, tiles.zero(kSums), x, w);
  tiles.store(kSums, product, buffer, e.i64(kLine));
  Value scales = dot.loadScales(e, panel, at);
  SmallVector<Value> result;
  for (auto [row, sum] : llvm::enumerate(sums)) {
    Value address = e.at(buffer, row * kLine);
    Value part =
        floats ? e.load(e.f32Vec(kPanel), address, 64)
               : Value(arith::SIToFPOp::create(
                     e.b, e.loc, e.f32Vec(kPanel),
                     e.load(e.vecType(kPanel, e.b.getI32Type()), address, 64)));
    result.push_back(e.fma(part, scales, sum));
  }
  return result;
}

void TileDot::addColumns(ArrayRef<DotPrimitive::Panel> panels,
                         const RowBlock &rows, Value column, int64_t width,
                         Value sums, Value sumStride) {
  constexpr int64_t bytesEach = 2, wide = kLine / bytesEach;
  SmallVector<Value> products;
  for (size_t i = 0; i < panels.size(); ++i)
    products.push_back(tiles.load(kSums, e.at(sums, i * kLine), sumStride));
  for (int64_t done = 0; done < width; done += wide) {
    int64_t bytes = std::min(wide, width - done) * bytesEach;
    Value first = e.add(column, done);
    Value x = tiles.load({kRows, bytes},
                         e.at(rows.first.values, e.mul(first, bytesEach)),
                         rows.stride);
    DotPrimitive::Chunk chunk{e.div(first, dot.getChunk()), 0};
    for (auto [panel, product] : llvm::zip_equal(panels, products)) {
      Value w = tiles.load({bytes / 4, kLine}, dot.quantsAt(e, panel, chunk),
                           e.i64(kLine));
      product = tiles.multiply(element(), bytes, product, x, w);
    }
  }
  for (auto [i, product] : llvm::enumerate(products))
    tiles.store(kSums, product, e.at(sums, i * kLine), sumStride);
}
