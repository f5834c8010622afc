//===- LinearKernel.cpp - Products with packed weights --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One emitter serves GEMV (decode), a few rows (verify) and GEMM (prefill): a
// tile of P panels of 16 weight rows times T activation rows is kept in
// registers over the whole inner dimension, or, where weights are unpacked for
// many rows, over a slab of columns (SlabProduct).
//
//===----------------------------------------------------------------------===//

#include "codegen/cpu/SlabProduct.h"
#include "codegen/cpu/StoredWeight.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

namespace {

constexpr int64_t kPanel = DotPrimitive::kPanel;
/// Rows up to which reading packed panels for each row takes less time than
/// unpacking them.
constexpr int64_t kFewOutputs = 4;

class LinearKernel {
public:
  LinearKernel(Phase &p, r1::RegionOp region, r1::LinearOp linear,
               DotPrimitive dot)
      : p(p), region(region), linear(linear), dot(dot) {
    RankedTensorType weight =
        r1::lookupWeightType(linear, linear.getWeightAttr());
    columns = weight.getDimSize(1);
    panels = llvm::divideCeil(weight.getDimSize(0), kPanel);
    r1::EncodingAttr encoding = r1::getEncoding(weight);
    panelBytes = encoding.getPanelBytes(columns);
    features = cast<RankedTensorType>(linear.getType()).getDimSize(1);
    for (Operation &op : region.getBody().front().without_terminator()) {
      if (&op == linear)
        continue;
      (op.isBeforeInBlock(linear) ? prologue : epilogue).push_back(&op);
      if (auto split = dyn_cast<r1::SplitOp>(op); split && split.getBlock())
        panelsPerUnit = split.getNumResults();
      if (auto graph = dyn_cast<r1::GraphOpInterface>(op))
        if (op.getBlock() == linear->getBlock() && !op.isBeforeInBlock(linear))
          headSize = std::max(headSize, graph.getHeadSize());
      if (auto append = dyn_cast<r1::KVAppendOp>(op))
        headSize = append.getCache().getType().getDim();
    }
    if (headSize)
      panelsPerUnit = headSize / kPanel;
    tile = chooseTile(p.target, p.attr.getKind(), encoding.getBlock());
  }

  void emit();

private:
  Rows emitPrologue();
  /// Whether many rows meet each panel, so that some of its columns stay in the
  /// first cache while all rows go by.
  bool usesSlabs() const {
    return p.attr.getKind() == r1::PhaseKind::Prefill &&
           (dot.unpacks() || usesTileRegisters());
  }
  bool usesTileRegisters() const {
    return dot.canUseTiles(p.target, p.attr, columns);
  }
  void emitSlabUnit(SlabProduct &product, Value index, int64_t unit);
  void emitSlabs();
  void emitFewOutputs();
  void emitUnits();
  TileSums emitTile(Value panel, int64_t panelCount, Value firstRow,
                    int64_t rowCount);
  Value biasAt(Value panel);
  void emitRegisterPanels(Value begin, Value end);
  void emitRegisterEpilogue(Value panel, Value row, ArrayRef<Value> sums);
  void emitHeads(Value begin, Value end);
  void emitHeadEpilogue(Value unit, Value row, Value scratch);
  void forTiles(Value rowCount, function_ref<void(Value)> body) {
    p.loop(p.i64(0), rowCount, tile.rows, body);
  }
  Operation *yield() { return region.getBody().front().getTerminator(); }

  Phase &p;
  r1::RegionOp region;
  r1::LinearOp linear;
  DotPrimitive dot;
  int64_t columns, panels, panelBytes, features;
  int64_t panelsPerUnit = 1, headSize = 0;
  SmallVector<Operation *> prologue, epilogue;
  Tile tile;
  /// Whether each panel is read from memory once, and not from a cache.
  bool streams = p.attr.getKind() != r1::PhaseKind::Prefill;
  Rows input;
  Value weight, bias;
  /// Panels whose sums for all rows are formed together, where panels are
  /// unpacked.
  int64_t unitPanels = 0;
};

} // namespace

/// Runs the ops before the product once per row into this thread's scratch.
Rows LinearKernel::emitPrologue() {
  if (prologue.empty())
    return p.rows(linear.getInput());
  Value count =
      r1::countsOutputs(linear.getInput()) ? p.outputCount : p.rowCount;
  // Ops of one type work in place; a cast needs rows of its own.
  std::optional<Rows> rows;
  for (Operation *op : prologue) {
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    if (!rows || rows->element != type.getElementType()) {
      int64_t stride = llvm::alignTo(r1::getRowBytes(type), 64);
      rows = Rows{p.allocateScratch(stride * p.attr.getMaxRows()),
                  p.i64(stride), type.getElementType(), count, columns};
    }
    p.setRows(op->getResult(0), *rows);
  }
  p.loop(p.i64(0), count, 1, [&](Value row) {
    for (Operation *op : prologue)
      emitRowOp(p, op, row, {nullptr, nullptr, columns, nullptr, nullptr});
  });
  return *rows;
}

/// Sums of `panelCount` panels, as many at a time as a tile has.
TileSums LinearKernel::emitTile(Value panel, int64_t panelCount, Value firstRow,
                                int64_t rowCount) {
  SmallVector<DotPrimitive::Row> rows = tileRows(p, dot, input, firstRow, rowCount);
  Value base = p.at(weight, p.mul(panel, panelBytes));
  TileSums sums;
  for (int64_t done = 0; done < panelCount; done += tile.panels) {
    SmallVector<Value> addresses;
    for (int64_t i = done; i < std::min(done + tile.panels, panelCount); ++i)
      addresses.push_back(p.at(base, i * panelBytes));
    llvm::append_range(sums, emitPanelTile(p, dot, columns, addresses, rows,
                                          streams));
  }
  return sums;
}

/// The region for unit number `index`, which has `unit` panels.
void LinearKernel::emitSlabUnit(SlabProduct &product, Value index,
                                int64_t unit) {
  Value first = p.mul(index, unitPanels);
  Value address = p.at(weight, p.mul(first, panelBytes));
  product.multiply(address, unit);
  p.loop(p.i64(0), input.count, 1, [&](Value row) {
    Value at = product.sumsAt(row);
    SmallVector<Value> sums;
    for (int64_t i = 0; i < unit; ++i) {
      Value sum = p.load(p.f32Vec(kPanel), p.at(at, i * 64), 64);
      sums.push_back(dot.scaleRows(
          p, dot.panelAt(p, p.at(address, i * panelBytes), columns), sum));
    }
    if (!headSize)
      return emitRegisterEpilogue(first, row, sums);
    for (auto [i, sum] : llvm::enumerate(sums)) {
      if (bias)
        sum = p.addf(sum, biasAt(p.add(first, i)));
      p.store(sum, p.at(at, i * 64), 64);
    }
    emitHeadEpilogue(index, row, at);
  });
}

void LinearKernel::emitSlabs() {
  Tile tile = this->tile;
  DotPrimitive dot = this->dot;
  if (usesTileRegisters()) {
    dot.useTiles();
    tile = {4, TileDot::kRows};
  }
  dot.prepare(p);
  unitPanels = headSize ? panelsPerUnit
                        : llvm::alignTo(tile.panels, panelsPerUnit);
  SlabProduct product(p, dot, input, columns, panelBytes, unitPanels, tile);
  int64_t whole = panels / unitPanels, rest = panels % unitPanels;
  auto [first, last] = p.share(p.i64(whole + (rest ? 1 : 0)));
  p.loop(first, p.min(last, p.i64(whole)), 1,
         [&](Value unit) { emitSlabUnit(product, unit, unitPanels); });
  if (rest)
    p.ifThen(p.both(p.less(first, last), p.equal(last, p.i64(whole + 1))),
             [&] { emitSlabUnit(product, p.i64(whole), rest); });
}

Value LinearKernel::biasAt(Value panel) {
  return p.load(p.f32Vec(kPanel), p.at(bias, p.mul(panel, kPanel * 4)), 4);
}

/// Stores 16 features; the last panel of a row that is not padded is cut.
static void storePanel(Phase &p, const Rows &rows, Value row, Value panel,
                       Value value) {
  Value feature = p.mul(panel, kPanel);
  Value ptr = p.at(p.rowPtr(rows, row),
                   p.mul(feature, p.bytesOf(rows.element)));
  if (!rows.exact || rows.features % kPanel == 0)
    p.storeFromF32(value, rows.element, ptr);
  else
    storeLanes(p, value, ptr, p.sub(p.i64(rows.features), feature));
}

/// Ops after the product, feature by feature, on the 16 sums of each panel.
void LinearKernel::emitRegisterEpilogue(Value panel, Value row,
                                        ArrayRef<Value> sums) {
  struct Panels {
    SmallVector<Value> values;
    Value first;
  };
  DenseMap<Value, Panels> known;
  Panels product{SmallVector<Value>(sums), panel};
  if (bias)
    for (auto [i, value] : llvm::enumerate(product.values))
      value = p.addf(value, biasAt(p.add(panel, i)));
  known[linear.getResult()] = product;

  auto operand = [&](Value value, const Panels &like) {
    if (auto it = known.find(value); it != known.end())
      return it->second;
    const Rows &rows = p.rows(value);
    Panels loaded{{}, like.first};
    for (size_t i = 0; i < like.values.size(); ++i)
      loaded.values.push_back(p.loadAsF32(
          rows.element,
          p.at(p.rowPtr(rows, row),
               p.mul(p.add(like.first, i), kPanel * p.bytesOf(rows.element))),
          kPanel));
    return loaded;
  };
  for (Operation *op : epilogue) {
    if (auto split = dyn_cast<r1::SplitOp>(op)) {
      Panels from = known.lookup(split.getInput());
      int64_t ways = split.getNumResults();
      for (auto [n, result] : llvm::enumerate(split.getResults())) {
        Panels part{{}, p.div(from.first, ways)};
        for (size_t i = n; i < from.values.size(); i += ways)
          part.values.push_back(from.values[i]);
        known[result] = part;
      }
      continue;
    }
    if (isa<r1::CastOp>(op)) { // The store rounds.
      known[op->getResult(0)] = known.lookup(op->getOperand(0));
      continue;
    }
    bool firstKnown = known.count(op->getOperand(0));
    Panels like = known.lookup(op->getOperand(firstKnown ? 0 : 1));
    Panels a = operand(op->getOperand(0), like);
    Panels c = operand(op->getOperand(1), like);
    Panels result{{}, like.first};
    for (auto [x, y] : llvm::zip_equal(a.values, c.values))
      result.values.push_back(isa<r1::SwiGLUOp>(op) ? emitSwiGLU(p, x, y)
                                                    : p.addf(x, y));
    known[op->getResult(0)] = result;
  }
  for (Value value : yield()->getOperands()) {
    Panels result = known.lookup(value);
    for (auto [i, vector] : llvm::enumerate(result.values))
      storePanel(p, p.rows(value), row, p.add(result.first, i), vector);
  }
}

void LinearKernel::emitRegisterPanels(Value begin, Value end) {
  int64_t wide = llvm::alignTo(tile.panels, panelsPerUnit);
  auto tiles = [&](Value first, Value last, int64_t count) {
    p.loop(first, last, count, [&](Value panel) {
      forTiles(input.count, [&](Value row) {
        TileSums sums = emitTile(panel, count, row, tile.rows);
        for (int64_t t = 0; t < tile.rows; ++t) {
          Value current = p.add(row, t);
          SmallVector<Value> column;
          for (auto &panelSums : sums)
            column.push_back(panelSums[t]);
          if (t == 0)
            emitRegisterEpilogue(panel, current, column);
          else
            p.ifThen(p.less(current, input.count), [&] {
              emitRegisterEpilogue(panel, current, column);
            });
        }
      });
    });
  };
  Value middle =
      p.add(begin, p.mul(p.div(p.sub(end, begin), wide), wide));
  tiles(begin, middle, wide);
  if (wide != panelsPerUnit)
    tiles(middle, end, panelsPerUnit);
}

/// Ops after the product that work on whole heads: one head of one row lies in
/// `scratch`. Which of the split's results it belongs to depends on the unit.
void LinearKernel::emitHeadEpilogue(Value unit, Value row, Value scratch) {
  auto store = [&](Value value, Value head) {
    if (!llvm::is_contained(yield()->getOperands(), value))
      return;
    Value out = p.at(p.rowPtr(p.rows(value), row), p.mul(head, headSize * 4));
    p.vectorLoop(headSize, kPanel, [&](Value i, int64_t width) {
      Value at = p.mul(i, 4);
      p.storeFromF32(p.loadAsF32(p.f32Type(), p.at(scratch, at), width),
                     p.f32Type(), p.at(out, at));
    });
  };
  auto chain = [&](Value value, Value head) {
    store(value, head);
    DenseSet<Value> here = {value};
    for (Operation *op : epilogue) {
      Value used;
      for (Value operand : op->getOperands())
        if (here.contains(operand))
          used = operand;
      if (!used || isa<r1::SplitOp>(op))
        continue;
      emitRowOp(p, op, row, {scratch, scratch, headSize, head, used});
      for (Value result : op->getResults()) {
        here.erase(used);
        here.insert(result);
        store(result, head);
      }
    }
  };
  auto split = llvm::find_if(epilogue, [&](Operation *op) {
    return isa<r1::SplitOp>(op) && op->getOperand(0) == linear.getResult();
  });
  if (split == epilogue.end()) {
    chain(linear.getResult(), unit);
    return;
  }
  int64_t first = 0;
  for (Value result : (*split)->getResults()) {
    int64_t heads =
        cast<RankedTensorType>(result.getType()).getDimSize(1) / headSize;
    Value inside = p.both(p.less(p.i64(first - 1), unit),
                          p.less(unit, p.i64(first + heads)));
    Value head = p.sub(unit, p.i64(first));
    p.ifThen(inside, [&] { chain(result, head); });
    first += heads;
  }
}

void LinearKernel::emitHeads(Value begin, Value end) {
  int64_t headBytes = llvm::alignTo(headSize * 4, 64);
  Value scratch = p.allocateScratch(headBytes * tile.rows);
  int64_t chunks = llvm::divideCeil(panelsPerUnit, tile.panels);
  p.loop(begin, end, 1, [&](Value unit) {
    forTiles(input.count, [&](Value row) {
      int64_t done = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        int64_t count = (panelsPerUnit - done + chunks - chunk - 1) /
                        (chunks - chunk);
        Value panel = p.add(p.mul(unit, panelsPerUnit), done);
        TileSums sums = emitTile(panel, count, row, tile.rows);
        for (int64_t i = 0; i < count; ++i)
          for (int64_t t = 0; t < tile.rows; ++t) {
            Value sum = sums[i][t];
            if (bias)
              sum = p.addf(sum, biasAt(p.add(panel, i)));
            p.store(sum, p.at(scratch, t * headBytes + (done + i) * 64), 4);
          }
        done += count;
      }
      Value count = p.min(p.i64(tile.rows), p.sub(input.count, row));
      p.loop(p.i64(0), count, 1, [&](Value t) {
        emitHeadEpilogue(unit, p.add(row, t),
                         p.at(scratch, p.mul(t, headBytes)));
      });
    });
  });
}

void LinearKernel::emit() {
  int64_t mark = p.scratchMark();
  weight = p.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  if (linear.getBiasAttr())
    bias = p.weightPtr(linear, linear.getBiasAttr(), linear.getLayer());
  input = emitPrologue();
  if (!usesSlabs()) {
    emitUnits();
  } else if (!r1::countsOutputs(linear.getInput())) {
    emitSlabs();
  } else {
    // A chunk of a prompt has the output of its last row, or none.
    Value many = p.less(p.i64(kFewOutputs), input.count);
    p.ifThen(p.equal(many, p.splat(p.b.getI1Type(), 0)),
             [&] { emitFewOutputs(); });
    p.ifThen(many, [&] { emitSlabs(); });
  }
  p.restoreScratch(mark);
}

void LinearKernel::emitUnits() {
  dot.prepare(p);
  auto [first, last] = p.share(p.i64(llvm::divideCeil(panels, panelsPerUnit)));
  if (headSize)
    emitHeads(first, last);
  else
    emitRegisterPanels(p.mul(first, panelsPerUnit), p.mul(last, panelsPerUnit));
}

/// As decode does it, a row at a time.
void LinearKernel::emitFewOutputs() {
  LinearKernel few(*this);
  bool blocks = r1::getEncoding(r1::lookupWeightType(linear,
                                                     linear.getWeightAttr()))
                    .getBlock();
  few.tile = chooseTile(p.target, r1::PhaseKind::Decode, blocks);
  few.streams = true;
  few.emitUnits();
}

void sputnik::cpu::emitPackedLinear(Phase &phase, r1::RegionOp region,
                                    r1::LinearOp linear) {
  RankedTensorType weight =
      r1::lookupWeightType(linear, linear.getWeightAttr());
  Type element =
      cast<RankedTensorType>(linear.getInput().getType()).getElementType();
  FailureOr<DotPrimitive> dot =
      DotPrimitive::get(r1::getEncoding(weight), element, phase.target);
  assert(succeeded(dot) && "checked before emission");
  LinearKernel(phase, region, linear, *dot).emit();
}

void sputnik::cpu::emitPlainLinear(Phase &p, r1::RegionOp region,
                                   r1::LinearOp linear) {
  RankedTensorType weightType =
      r1::lookupWeightType(linear, linear.getWeightAttr());
  r1::EncodingAttr encoding = r1::getEncoding(weightType);
  int64_t columns = weightType.getDimSize(1);
  int64_t features = cast<RankedTensorType>(linear.getType()).getDimSize(1);
  Value weight =
      p.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  Value bias;
  if (linear.getBiasAttr())
    bias = p.weightPtr(linear, linear.getBiasAttr(), linear.getLayer());
  const Rows in = p.rows(linear.getInput()), out = p.rows(linear.getResult());
  auto [first, last] = p.share(p.i64(features));
  p.loop(p.i64(0), in.count, 1, [&](Value row) {
    Value x = p.rowPtr(in, row), y = p.rowPtr(out, row);
    p.loop(first, last, 1, [&](Value n) {
      Value sum = p.loop(
          p.i64(0), p.i64(columns), 1, {p.f32(0.0f)},
          [&](Value k, ValueRange sums) -> SmallVector<Value> {
            Value a = loadWeight(p, encoding, columns, weight, n, k);
            Value b = p.loadAsF32(in.element,
                                  p.at(x, p.mul(k, p.bytesOf(in.element))));
            return {p.addf(sums[0], p.mulf(a, b))};
          })[0];
      if (bias)
        sum = p.addf(sum, p.load(p.f32Type(), p.at(bias, p.mul(n, 4)), 4));
      p.storeFromF32(sum, out.element,
                     p.at(y, p.mul(n, p.bytesOf(out.element))));
    });
  });
}
