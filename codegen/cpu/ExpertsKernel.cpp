//===- ExpertsKernel.cpp - Products with chosen experts -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Slots of rows are sorted by expert, and each expert's matrix is multiplied
// with its slots together: one slot in decode, a GEMM in prefill. Matrices of
// experts that nobody chose are not touched. Every thread sorts for itself,
// which takes less time than to wait for another that does.
//
// Where there are many experts, each has a few slots only. Panels are unpacked in
// registers for a tile of them, and there is a tile of every height up to the
// registers': an expert's slots are spread evenly over as few tiles as take them.
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/PanelTile.h"
#include "codegen/cpu/Phase.h"
#include "codegen/cpu/StoredWeight.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

constexpr int64_t kPanel = DotPrimitive::kPanel;

/// The matrices of one weight.
struct ExpertMatrices {
  ExpertMatrices(Phase &p, Operation *op, FlatSymbolRefAttr name, Value layer,
                 int64_t experts)
      : type(r1::lookupWeightType(op, name)),
        encoding(r1::getEncoding(type)), columns(type.getDimSize(1)),
        rows(type.getDimSize(0) / experts),
        base(p.weightPtr(op, name, layer)) {}

  RankedTensorType type;
  r1::EncodingAttr encoding;
  int64_t columns;
  int64_t rows; ///< Of one expert.
  Value base;

  Value panelAt(Phase &p, Value expert, Value panel) const {
    Value index = p.add(p.mul(expert, rows / kPanel), panel);
    return p.at(base, p.mul(index, encoding.getPanelBytes(columns)));
  }
  /// Of a packed weight or any other: slow.
  Value valueAt(Phase &p, Value expert, Value row, Value column) const {
    return loadWeight(p, encoding, columns, base,
                      p.add(p.mul(expert, rows), row), column);
  }
};

/// Slots of rows by expert, in this thread's scratch.
class SortedSlots {
public:
  SortedSlots(Phase &p, const Rows &chosen, int64_t experts)
      : p(p), experts(experts), slots(chosen.features),
        counts(p.allocateScratch(experts * 8)),
        ends(p.allocateScratch(experts * 8)),
        order(p.allocateScratch(p.attr.getMaxRows() * slots * 8)) {
    p.loop(p.i64(0), p.i64(experts), 1,
           [&](Value e) { store(p.i64(0), counts, e); });
    forSlots(chosen, [&](Value, Value expert) {
      store(p.add(load(counts, expert), 1), counts, expert);
    });
    found = p.loop(p.i64(0), p.i64(experts), 1, {p.i64(0), p.i64(0)},
                   [&](Value e, ValueRange before) -> SmallVector<Value> {
                     Value count = load(counts, e);
                     store(before[0], ends, e);
                     return {p.add(before[0], count),
                             p.add(before[1], p.min(count, p.i64(1)))};
                   })[1];
    forSlots(chosen, [&](Value index, Value expert) {
      Value end = load(ends, expert);
      store(index, order, end);
      store(p.add(end, 1), ends, expert);
    });
  }

  /// The slots of one expert.
  struct Slots {
    Value expert;
    Value first, count; ///< In the order.
    Value before;       ///< How many experts have slots before these.
  };
  /// Calls `body` for experts that have slots.
  void forExperts(function_ref<void(const Slots &)> body) const {
    p.loop(p.i64(0), p.i64(experts), 1, {p.i64(0)},
           [&](Value expert, ValueRange before) -> SmallVector<Value> {
             Value count = load(counts, expert);
             p.ifThen(p.less(p.i64(0), count), [&] {
               body({expert, p.sub(load(ends, expert), count), count,
                     before[0]});
             });
             return {p.add(before[0], p.min(count, p.i64(1)))};
           });
  }
  /// How many experts have slots.
  Value getFound() const { return found; }

  /// Row and slot at a place of the order.
  std::pair<Value, Value> slotAt(Value place) const {
    Value index = load(order, place);
    return {p.div(index, slots), p.rem(index, slots)};
  }

private:
  Value load(Value base, Value i) const {
    return p.load(p.i64Type(), p.at(base, p.mul(i, 8)), 8);
  }
  void store(Value value, Value base, Value i) {
    p.store(value, p.at(base, p.mul(i, 8)), 8);
  }
  void forSlots(const Rows &chosen, function_ref<void(Value, Value)> body) {
    p.loop(p.i64(0), chosen.count, 1, [&](Value row) {
      p.loop(p.i64(0), p.i64(slots), 1, [&](Value slot) {
        Value word = p.load(p.b.getI32Type(),
                            p.at(p.rowPtr(chosen, row), p.mul(slot, 4)), 4);
        body(p.add(p.mul(row, slots), slot), p.widen(word));
      });
    });
  }

  Phase &p;
  int64_t experts, slots;
  Value counts, ends, order, found;
};

/// Multiplies panels of one expert with its slots, tile by tile.
class ExpertProduct {
public:
  ExpertProduct(Phase &p, const ExpertMatrices &matrices, const Rows &input,
                const SortedSlots &sorted, int64_t panelsTogether)
      : p(p), matrices(matrices), input(input), sorted(sorted),
        dot(*DotPrimitive::get(matrices.encoding, input.element, p.target)),
        tile(chooseFewRowsTile(p.target, p.attr, matrices.encoding)),
        together(panelsTogether) {
    dot.prepare(p);
  }

  /// One slot and the sums of the panels from `panel` on.
  using Epilogue =
      function_ref<void(Value row, Value slot, Value panel, ArrayRef<Value>)>;
  /// Panels [begin, end), multiples of those that belong together.
  void emit(const SortedSlots::Slots &slots, Value begin, Value end,
            Epilogue epilogue) {
    int64_t wide = llvm::alignTo(tile.panels, together);
    auto tiles = [&](Value from, Value to, int64_t panels) {
      p.loop(from, to, panels, [&](Value panel) {
        forTiles(slots.count, [&](Value place, int64_t rows) {
          emitTile(slots.expert, p.add(slots.first, place), rows, panel,
                   panels, epilogue);
        });
      });
    };
    Value middle = p.add(begin, p.mul(p.div(p.sub(end, begin), wide), wide));
    tiles(begin, middle, wide);
    if (wide != together)
      tiles(middle, end, together);
  }

private:
  /// Calls `body` with the place and the height of each tile of `count` slots.
  void forTiles(Value count, function_ref<void(Value, int64_t)> body) {
    if (tile.rows == 1) {
      p.loop(p.i64(0), count, 1, [&](Value place) { body(place, 1); });
      return;
    }
    Value tiles = p.ceilDiv(count, tile.rows);
    auto placeOf = [&](Value i) { return p.div(p.mul(count, i), tiles); };
    p.loop(p.i64(0), tiles, 1, [&](Value i) {
      Value place = placeOf(i);
      Value height = p.sub(placeOf(p.add(i, 1)), place);
      for (int64_t rows = 1; rows <= tile.rows; ++rows)
        p.ifThen(p.equal(height, p.i64(rows)), [&] { body(place, rows); });
    });
  }

  void emitTile(Value expert, Value first, int64_t count, Value panel,
                int64_t panels, Epilogue epilogue) {
    SmallVector<std::pair<Value, Value>> slots;
    SmallVector<DotPrimitive::Row> rows;
    for (int64_t t = 0; t < count; ++t) {
      slots.push_back(sorted.slotAt(p.add(first, t)));
      rows.push_back(rowAt(slots.back().first, slots.back().second));
    }
    TileSums sums;
    for (int64_t done = 0; done < panels; done += tile.panels) {
      SmallVector<Value> addresses;
      for (int64_t i = done; i < std::min(done + tile.panels, panels); ++i)
        addresses.push_back(matrices.panelAt(p, expert, p.add(panel, i)));
      llvm::append_range(sums, emitPanelTile(p, dot, matrices.columns,
                                             addresses, rows,
                                             /*streams=*/true));
    }
    for (int64_t t = 0; t < count; ++t) {
      SmallVector<Value> column;
      for (ArrayRef<Value> panelSums : sums)
        column.push_back(panelSums[t]);
      epilogue(slots[t].first, slots[t].second, panel, column);
    }
  }

  /// The slot of a row that the product runs over: all of it, or a part.
  DotPrimitive::Row rowAt(Value row, Value slot) {
    int64_t inner = matrices.columns;
    DotPrimitive::Row all =
        dot.rowAt(p, p.rowPtr(input, row), input.features);
    if (input.features == inner)
      return all;
    all.values = p.at(all.values,
                      p.mul(slot, inner * p.bytesOf(input.element)));
    if (all.scales)
      all.scales =
          p.at(all.scales, p.mul(slot, inner / r1::kActivationGroup * 4));
    if (all.corrections)
      all.corrections =
          p.at(all.corrections, p.mul(slot, inner / r1::kQuantBlock * 4));
    return all;
  }

  Phase &p;
  const ExpertMatrices &matrices;
  const Rows &input;
  const SortedSlots &sorted;
  DotPrimitive dot;
  Tile tile;
  int64_t together;
};

Value maxOfZero(Phase &p, Value a) {
  return arith::MaxSIOp::create(p.b, p.loc, a, p.i64(0));
}

/// Stores one panel of `size` features that start at `ptr`.
void storeFeatures(Phase &p, Value value, Value ptr, Value panel,
                   int64_t size) {
  Value at = p.at(ptr, p.mul(panel, kPanel * 4));
  if (size % kPanel == 0)
    p.store(value, at, 4);
  else
    storeLanes(p, value, at, p.sub(p.i64(size), p.mul(panel, kPanel)));
}

} // namespace

void sputnik::cpu::emitPackedExpertsUp(Phase &p, r1::ExpertsUpOp op) {
  const Rows in = p.rows(op.getInput()), chosen = p.rows(op.getChosen()),
             out = p.rows(op.getResult());
  int64_t experts = op.getExperts(), inner = op.getSlotFeatures();
  int64_t mark = p.scratchMark();
  ExpertMatrices matrices(p, op, op.getGateAttr(), op.getLayer(), experts);
  SortedSlots sorted(p, chosen, experts);
  ExpertProduct product(p, matrices, in, sorted, /*panelsTogether=*/2);

  // A pair of panels costs as much as its expert has slots, and kRead for reading
  // it; threads take equal shares of all costs. In decode and verify these are in
  // the order of pairs and experts, so that a thread reads the same rows of
  // whichever experts are chosen; in prefill in that of experts and pairs, so that
  // it meets few slots.
  constexpr int64_t kRead = 2;
  bool byExpert = p.attr.getKind() == r1::PhaseKind::Prefill;
  int64_t pairs = matrices.rows / (2 * kPanel);
  Value costs = p.add(p.mul(chosen.count, chosen.features),
                      p.mul(sorted.getFound(), kRead));
  auto [from, to] = p.share(p.mul(costs, pairs));
  sorted.forExperts([&, from = from, to = to](const SortedSlots::Slots &slots) {
    Value start = p.add(slots.first, p.mul(slots.before, kRead));
    Value step = costs;
    if (byExpert) {
      start = p.mul(start, pairs);
      step = p.add(slots.count, kRead);
    }
    // The first pair of this expert that begins at `share` of the costs or after.
    auto pairAt = [&](Value share) {
      Value before = maxOfZero(p, p.sub(share, start));
      Value pair = p.div(p.add(before, p.sub(step, p.i64(1))), step);
      return p.mul(p.min(pair, p.i64(pairs)), 2);
    };
    product.emit(
        slots, pairAt(from), pairAt(to),
        [&](Value row, Value slot, Value panel, ArrayRef<Value> sums) {
          Value ptr = p.at(p.rowPtr(out, row), p.mul(slot, inner * 4));
          for (size_t i = 0; i < sums.size(); i += 2)
            storeFeatures(p, emitSwiGLU(p, sums[i], sums[i + 1]), ptr,
                          p.div(p.add(panel, i), 2), inner);
        });
  });
  p.restoreScratch(mark);
}

void sputnik::cpu::emitPackedExpertsDown(Phase &p, r1::ExpertsDownOp op) {
  const Rows in = p.rows(op.getInput()), chosen = p.rows(op.getChosen()),
             factors = p.rows(op.getFactors()), out = p.rows(op.getResult());
  int64_t experts = op.getExperts();
  int64_t features = out.exact ? out.features
                               : llvm::alignTo(out.features, kPanel);
  int64_t mark = p.scratchMark();
  ExpertMatrices matrices(p, op, op.getDownAttr(), op.getLayer(), experts);
  SortedSlots sorted(p, chosen, experts);
  ExpertProduct product(p, matrices, in, sorted, /*panelsTogether=*/1);

  // A thread has its features of all rows: the order of each sum is that of
  // the experts, however many threads there are.
  auto [begin, end] =
      p.share(p.i64(llvm::divideCeil(out.features, kPanel)));
  Value zero = p.splat(p.f32Vec(kPanel), 0.0);
  p.loop(p.i64(0), out.count, 1, [&, begin = begin, end = end](Value row) {
    p.loop(begin, end, 1, [&](Value panel) {
      storeFeatures(p, zero, p.rowPtr(out, row), panel, features);
    });
  });
  sorted.forExperts([&, begin = begin,
                     end = end](const SortedSlots::Slots &slots) {
    product.emit(
        slots, begin, end,
        [&](Value row, Value slot, Value panel, ArrayRef<Value> sums) {
          Value factor =
              p.load(p.f32Type(),
                     p.at(p.rowPtr(factors, row), p.mul(slot, 4)), 4);
          Value ptr = p.rowPtr(out, row);
          for (auto [i, sum] : llvm::enumerate(sums)) {
            Value index = p.add(panel, i);
            Value old = p.load(p.f32Vec(kPanel),
                               p.at(ptr, p.mul(index, kPanel * 4)), 4);
            storeFeatures(p, p.fma(p.broadcast(factor, kPanel), sum, old), ptr,
                          index, features);
          }
        });
  });
  p.restoreScratch(mark);
}

/// The expert of slot `slot` of a row.
static Value expertAt(Phase &p, const Rows &chosen, Value row, Value slot) {
  Value ptr = p.at(p.rowPtr(chosen, row), p.mul(slot, 4));
  return p.widen(p.load(p.b.getI32Type(), ptr, 4));
}

/// Row `n` of an expert's matrix times the f32 features at `x`.
static Value plainProduct(Phase &p, const ExpertMatrices &matrices,
                          Value expert, Value n, Value x) {
  return p.loop(p.i64(0), p.i64(matrices.columns), 1, {p.f32(0)},
                [&](Value k, ValueRange sums) -> SmallVector<Value> {
                  Value w = matrices.valueAt(p, expert, n, k);
                  Value v = p.load(p.f32Type(), p.at(x, p.mul(k, 4)), 4);
                  return {p.addf(sums[0], p.mulf(w, v))};
                })[0];
}

void sputnik::cpu::emitPlainExpertsUp(Phase &p, r1::ExpertsUpOp op) {
  const Rows in = p.rows(op.getInput()), chosen = p.rows(op.getChosen()),
             out = p.rows(op.getResult());
  int64_t inner = op.getSlotFeatures();
  ExpertMatrices gate(p, op, op.getGateAttr(), op.getLayer(), op.getExperts());
  ExpertMatrices up(p, op, op.getUpAttr(), op.getLayer(), op.getExperts());
  auto [first, last] = p.share(p.i64(out.features));
  p.loop(p.i64(0), out.count, 1, [&, first = first, last = last](Value row) {
    Value x = p.rowPtr(in, row), y = p.rowPtr(out, row);
    p.loop(first, last, 1, [&](Value i) {
      Value expert = expertAt(p, chosen, row, p.div(i, inner));
      Value n = p.rem(i, inner);
      p.store(emitSwiGLU(p, plainProduct(p, gate, expert, n, x),
                         plainProduct(p, up, expert, n, x)),
              p.at(y, p.mul(i, 4)), 4);
    });
  });
}

void sputnik::cpu::emitPlainExpertsDown(Phase &p, r1::ExpertsDownOp op) {
  const Rows in = p.rows(op.getInput()), chosen = p.rows(op.getChosen()),
             factors = p.rows(op.getFactors()), out = p.rows(op.getResult());
  ExpertMatrices down(p, op, op.getDownAttr(), op.getLayer(), op.getExperts());
  auto [first, last] = p.share(p.i64(out.features));
  p.loop(p.i64(0), out.count, 1, [&, first = first, last = last](Value row) {
    Value x = p.rowPtr(in, row), y = p.rowPtr(out, row);
    p.loop(first, last, 1, [&](Value n) {
      Value sum = p.loop(
          p.i64(0), p.i64(chosen.features), 1, {p.f32(0)},
          [&](Value slot, ValueRange sums) -> SmallVector<Value> {
            Value product = plainProduct(
                p, down, expertAt(p, chosen, row, slot), n,
                p.at(x, p.mul(slot, down.columns * 4)));
            Value factor =
                p.load(p.f32Type(),
                       p.at(p.rowPtr(factors, row), p.mul(slot, 4)), 4);
            return {p.addf(sums[0], p.mulf(factor, product))};
          })[0];
      p.store(sum, p.at(y, p.mul(n, 4)), 4);
    });
  });
}
