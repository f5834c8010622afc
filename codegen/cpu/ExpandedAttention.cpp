//===- ExpandedAttention.cpp - Latent attention with keys and values ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The rows of a slot are the queries of a FlashAttention, for one head after the
// other, whose keys and values are formed a tile of positions at a time. A row's
// result does not depend on what else is in the step.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/FlashAttention.h"
#include "codegen/cpu/LatentOperands.h"

#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

constexpr int64_t kPanel = FlashAttention::kPanel;
constexpr int64_t kTile = FlashAttention::kTile;

class ExpandedAttention : LatentOperands {
public:
  ExpandedAttention(Phase &p, r1::LatentAttentionOp op);

  void emit();

private:
  /// Where the rotary part of a query or key begins, behind whole panels.
  int64_t rotaryAt() const { return llvm::alignTo(key, kPanel); }
  /// Bytes of an expanded position.
  int64_t keyBytes() const {
    return (rotaryAt() + rotary) * p.bytesOf(flash.getElement());
  }
  int64_t valueBytes() const {
    return llvm::alignTo(value, kPanel) * p.bytesOf(flash.getElement());
  }
  std::pair<Value, Value> loadQueries(Value head, Value first, Value count);
  void expand(const HeadMatrices &matrices, Value head, int64_t features,
              Value latents, Value positions, Value to, int64_t stride);
  void copyRotary(Value layer, Value first, Value positions);
  void emitRun(Value head, Value first, Value count);

  FlashAttention flash;
  const Tile tile;
  /// A tile's positions, each in keyBytes() and valueBytes().
  Value expandedKeys, expandedValues;
};

} // namespace

ExpandedAttention::ExpandedAttention(Phase &p, r1::LatentAttentionOp op)
    : LatentOperands(p, op),
      flash(p, {p.attr.getMaxRows(), rotaryAt() + rotary, value, getScale()},
            isNarrow()),
      tile(p.target.getVectorRegisters() * p.target.getVectorBits() >= 32 * 512
               ? Tile{4, 4}
               : Tile{1, 4}) {
  for (HeadMatrices *matrices : {&keys, &values}) {
    matrices->prepare(p, cache.getElement());
    reserveLatents(matrices->getElement(), kTile);
  }
  // Vectors of the last position may end behind it.
  expandedKeys = p.allocateScratch(kTile * keyBytes() + 64);
  expandedValues = p.allocateScratch(kTile * valueBytes() + 64);
}

/// Copies the queries of `count` rows from `first` on; gives the least and the
/// greatest number of positions that one of them sees.
std::pair<Value, Value> ExpandedAttention::loadQueries(Value head, Value first,
                                                       Value count) {
  SmallVector<Value> limits = p.loop(
      p.i64(0), count, 1,
      {p.i64(std::numeric_limits<int64_t>::max()), p.i64(0)},
      [&](Value i, ValueRange limits) -> SmallVector<Value> {
        Value row = p.add(first, i), limit = lengthOf(row);
        flash.setLimit(i, limit);
        auto copy = [&](Value from, int64_t size, int64_t at) {
          p.vectorLoop(size, kPanel, [&](Value d, int64_t width) {
            flash.storeQuery(
                i, p.add(d, at),
                p.loadAsF32(p.f32Type(), p.at(from, p.mul(d, 4)), width));
          });
        };
        copy(headOf(query, row, head, key), key, 0);
        p.vectorLoop(rotaryAt() - key, kPanel, [&](Value d, int64_t width) {
          flash.storeQuery(i, p.add(d, key),
                           p.broadcast(p.f32(0.0f), width));
        });
        copy(headOf(rotaryQuery, row, head, rotary), rotary, rotaryAt());
        return {p.min(limits[0], limit),
                Value(arith::MaxSIOp::create(p.b, p.loc, limits[1], limit))};
      });
  return {limits[0], limits[1]};
}

/// `features` of a head for the `latents` of a tile of positions.
void ExpandedAttention::expand(const HeadMatrices &matrices, Value head,
                               int64_t features, Value latents,
                               Value positions, Value to, int64_t stride) {
  Type element = flash.getElement();
  int64_t bytes = latentBytes(matrices.getElement());
  p.loop(p.i64(0), positions, tile.rows, [&](Value position) {
    SmallVector<Value> rows;
    for (int64_t i = 0; i < tile.rows; ++i)
      rows.push_back(p.at(latents, p.mul(p.add(position, i), bytes)));
    matrices.multiply(
        p, head, features, tile.panels, rows,
        [&](Value panel, const TileSums &sums) {
          for (auto [i, column] : llvm::enumerate(sums))
            for (auto [r, sum] : llvm::enumerate(column)) {
              Value row = p.at(to, p.mul(p.add(position, r), stride));
              Value feature = p.mul(p.add(panel, i), kPanel);
              p.storeFromF32(sum, element,
                             p.at(row, p.mul(feature, p.bytesOf(element))));
            }
        });
  });
}

/// Puts the rotary part of a tile's keys behind what is a head's own.
void ExpandedAttention::copyRotary(Value layer, Value first, Value positions) {
  Type element = flash.getElement(), stored = cache.getElement();
  Value from = p.at(p.at(layer, p.mul(first, latentBytes(stored))),
                    latent * p.bytesOf(stored));
  Value to = p.at(expandedKeys, rotaryAt() * p.bytesOf(element));
  p.loop(p.i64(0), positions, 1, [&](Value position) {
    Value own = p.at(from, p.mul(position, latentBytes(stored)));
    Value key = p.at(to, p.mul(position, keyBytes()));
    p.vectorLoop(rotary, kPanel, [&](Value i, int64_t width) {
      Value x = p.loadAsF32(stored, p.at(own, p.mul(i, p.bytesOf(stored))),
                            width);
      p.storeFromF32(x, element, p.at(key, p.mul(i, p.bytesOf(element))));
    });
  });
}

/// Rows [first, first + count) of one slot.
void ExpandedAttention::emitRun(Value head, Value first, Value count) {
  flash.begin(count);
  auto [seen, length] = loadQueries(head, first, count);
  Value layer = layerOf(first);
  p.loop(p.i64(0), length, kTile, [&, seen = seen, length = length](Value at) {
    Value positions = p.min(p.i64(kTile), p.sub(length, at));
    // Panels are read to their ends: positions up to there exist.
    Value whole = p.mul(p.ceilDiv(positions, kPanel), kPanel);
    Value latents = latentsAt(layer, at, whole, keys.getElement());
    expand(keys, head, key, latents, whole, expandedKeys, keyBytes());
    copyRotary(layer, at, whole);
    if (values.getElement() != keys.getElement())
      latents = latentsAt(layer, at, whole, values.getElement());
    expand(values, head, value, latents, whole, expandedValues, valueBytes());
    p.loop(p.i64(0), p.ceilDiv(positions, kPanel), 1, [&](Value panel) {
      Value position = p.mul(panel, kPanel);
      flash.packKeys(panel, p.at(expandedKeys, p.mul(position, keyBytes())),
                     keyBytes());
      flash.packValues(panel,
                       p.at(expandedValues, p.mul(position, valueBytes())),
                       valueBytes());
    });
    flash.attend(at, positions, seen);
  });
  p.loop(p.i64(0), count, 1, [&](Value i) {
    flash.storeResult(i, p.f32Type(),
                      headOf(out, p.add(first, i), head, value));
  });
}

void ExpandedAttention::emit() {
  auto [firstHead, lastHead] = p.share(p.i64(heads));
  p.loop(firstHead, lastHead, 1, [&](Value head) {
    forSlots(p, op.getSlots(), p.i64(0), query.count,
             [&](Value first, Value count) { emitRun(head, first, count); });
  });
}

void sputnik::cpu::emitExpandedAttention(Phase &p, r1::LatentAttentionOp op) {
  int64_t mark = p.scratchMark();
  ExpandedAttention(p, op).emit();
  p.restoreScratch(mark);
}
