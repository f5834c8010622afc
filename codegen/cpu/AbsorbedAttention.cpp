//===- AbsorbedAttention.cpp - Latent attention of heads together ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The heads of a row are the queries of a FlashAttention, in the space of the
// latents: all of them see the same, as keys and as values. Groups of heads and
// spans of positions are shared among threads; what spans found is merged in their
// order. A row's result does not depend on what else is in the step.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/FlashAttention.h"
#include "codegen/cpu/LatentOperands.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

constexpr int64_t kPanel = FlashAttention::kPanel;
constexpr int64_t kTile = FlashAttention::kTile;
/// Panels of a head's matrix that one row meets together.
constexpr int64_t kPanelsAtOnce = 4;

class AbsorbedAttention : LatentOperands {
public:
  AbsorbedAttention(Phase &p, r1::LatentAttentionOp op)
      : LatentOperands(p, op) {}

  void emit();

private:
  /// Calls `body` with the first position and the number of each tile.
  void forTiles(Value first, Value last,
                function_ref<void(Value, Value)> body) {
    p.loop(first, last, kTile, [&](Value at) {
      body(at, p.min(p.i64(kTile), p.sub(last, at)));
    });
  }
  void storeHead(Value row, Value head, Value panel, Value sum);

  void absorbQueries();
  void attendLatents(const FlashAttention &flash, Value row, Value firstHead,
                     Value count, Value first, Value last);

  /// Queries of all rows and heads, [alignTo(latent, 16)] f32 each.
  Value absorbed;
};

} // namespace

void AbsorbedAttention::storeHead(Value row, Value head, Value panel,
                                  Value sum) {
  Value first = p.mul(panel, kPanel);
  Value ptr = p.at(headOf(out, row, head, value), p.mul(first, 4));
  if (value % kPanel == 0)
    p.store(sum, ptr, 4);
  else
    storeLanes(p, sum, ptr, p.sub(p.i64(value), first));
}

/// Takes this thread's heads of all rows to the space of the latents.
void AbsorbedAttention::absorbQueries() {
  int64_t bytes = llvm::alignTo(latent, kPanel) * 4;
  auto [begin, end] = p.share(p.i64(heads));
  p.loop(begin, end, 1, [&](Value head) {
    p.loop(p.i64(0), query.count, 1, [&](Value row) {
      Value to = p.at(absorbed, p.mul(p.add(p.mul(row, heads), head), bytes));
      keys.multiply(p, head, latent, kPanelsAtOnce,
                    {headOf(query, row, head, key)},
                    [&](Value panel, const TileSums &sums) {
                      for (auto [i, sum] : llvm::enumerate(sums))
                        p.store(sum[0],
                                p.at(to, p.mul(p.add(panel, i), kPanel * 4)),
                                64);
                    });
    });
  });
}

/// Queries are `count` heads of a row from `firstHead` on, which see positions
/// [first, last).
void AbsorbedAttention::attendLatents(const FlashAttention &flash, Value row,
                                      Value firstHead, Value count,
                                      Value first, Value last) {
  int64_t bytes = llvm::alignTo(latent, kPanel) * 4;
  p.loop(p.i64(0), count, 1, [&](Value i) {
    Value head = p.add(firstHead, i);
    Value own = p.at(absorbed, p.mul(p.add(p.mul(row, heads), head), bytes));
    Value shared = headOf(rotaryQuery, row, head, rotary);
    flash.setLimit(i, lengthOf(row));
    // Whole panels first: what is behind the latent is overwritten.
    p.loop(p.i64(0), p.i64(latent), kPanel, [&](Value d) {
      flash.storeQuery(
          i, d, p.load(p.f32Vec(kPanel), p.at(own, p.mul(d, 4)), 64));
    });
    p.vectorLoop(rotary, kPanel, [&](Value d, int64_t width) {
      flash.storeQuery(
          i, p.add(d, latent),
          p.loadAsF32(p.f32Type(), p.at(shared, p.mul(d, 4)), width));
    });
  });
  Value layer = layerOf(row);
  Type element = flash.getElement();
  int64_t stride = latentBytes(element);
  forTiles(first, last, [&](Value at, Value positions) {
    Value rows = latentsAt(layer, at, positions, element);
    p.loop(p.i64(0), p.ceilDiv(positions, kPanel), 1, [&](Value panel) {
      Value own = p.at(rows, p.mul(panel, kPanel * stride));
      flash.packKeys(panel, own, stride);
      flash.packValues(panel, own, stride);
    });
    flash.attend(at, positions, lengthOf(row));
  });
}

/// As many spans of positions as let all cores work where groups of heads do
/// not.
static int64_t chooseSpans(r1::TargetAttr target, r1::PhaseKind phase,
                           int64_t groups) {
  if (phase == r1::PhaseKind::Prefill || groups % target.getCores() == 0)
    return 1;
  return llvm::divideCeil(2 * target.getCores(), groups);
}

void AbsorbedAttention::emit() {
  auto region = op->getParentOfType<r1::RegionOp>();
  int64_t together = std::min(heads, region.getPartition()->getGranule());
  int64_t groups = llvm::divideCeil(heads, together), rows = p.attr.getMaxRows();
  int64_t spans = chooseSpans(p.target, p.attr.getKind(), groups);
  auto spanOf = [&](Value length) {
    return p.mul(p.ceilDiv(p.ceilDiv(length, kTile), spans), kTile);
  };
  keys.prepare(p, p.f32Type());
  values.prepare(p, p.f32Type());
  FlashAttention flash(p, {together, cache.getDim(), latent, getScale()},
                       isNarrow());
  reserveLatents(flash.getElement(), kTile);
  int64_t rowBytes = llvm::alignTo(latent, kPanel) * 4;
  int64_t queryBytes = rows * heads * rowBytes;
  int64_t partBytes = flash.getPartBytes();
  absorbed = p.allocateShared(queryBytes + rows * heads * spans * partBytes);
  auto partsOf = [&](Value row, Value head) {
    Value index = p.add(p.mul(row, heads), head);
    return p.at(p.at(absorbed, queryBytes), p.mul(index, spans * partBytes));
  };

  absorbQueries();
  p.wait();
  auto [begin, end] = p.share(p.mul(query.count, groups * spans));
  p.loop(begin, end, 1, [&](Value item) {
    Value row = p.div(item, groups * spans), span = p.rem(item, spans);
    Value firstHead = p.mul(p.rem(p.div(item, spans), groups), together);
    Value length = lengthOf(row), size = spanOf(length);
    Value first = p.mul(span, size);
    p.ifThen(p.less(first, length), [&] {
      Value count = p.min(p.i64(together), p.sub(p.i64(heads), firstHead));
      flash.begin(count);
      attendLatents(flash, row, firstHead, count, first,
                    p.min(length, p.add(first, size)));
      p.loop(p.i64(0), count, 1, [&](Value i) {
        flash.storePart(i, p.at(partsOf(row, p.add(firstHead, i)),
                                p.mul(span, partBytes)));
      });
    });
  });
  p.wait();
  Value merged = p.allocateScratch(rowBytes);
  auto [firstHead, lastHead] = p.share(p.i64(heads));
  p.loop(firstHead, lastHead, 1, [&](Value head) {
    p.loop(p.i64(0), query.count, 1, [&](Value row) {
      Value length = lengthOf(row), size = spanOf(length);
      Value count = p.div(p.sub(p.add(length, size), p.i64(1)), size);
      flash.mergeParts(partsOf(row, head), count, merged);
      values.multiply(p, head, value, kPanelsAtOnce, {merged},
                      [&](Value panel, const TileSums &sums) {
                        for (auto [i, sum] : llvm::enumerate(sums))
                          storeHead(row, head, p.add(panel, i), sum[0]);
                      });
    });
  });
}

void sputnik::cpu::emitAbsorbedAttention(Phase &p, r1::LatentAttentionOp op) {
  int64_t mark = p.scratchMark();
  AbsorbedAttention(p, op).emit();
  p.restoreScratch(mark);
}
