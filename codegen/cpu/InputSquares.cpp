//===- InputSquares.cpp - Sums over what linears take ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/InputSquares.h"

#include "passes/ObserveInputs.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

static constexpr int64_t kLanes = 16;

/// Adds the squares of columns [first, first + width) of all rows to `sums`.
static void addSquares(Phase &p, const Rows &rows, int64_t columns, Value first,
                       int64_t width, Value sums) {
  Type type = width == 1 ? Type(p.b.getF64Type())
                         : Type(p.vecType(width, p.b.getF64Type()));
  Value at = p.at(sums, p.mul(first, 8));
  Value sum = p.load(type, at, 8);
  sum = p.loop(
      p.i64(0), rows.count, 1, {sum},
      [&](Value row, ValueRange carried) -> SmallVector<Value> {
        // Slots of a mixture's rows follow one another.
        Value total = carried[0];
        for (int64_t part = 0; part < rows.features; part += columns) {
          Value x = p.loadAsF32(
              rows.element,
              p.at(p.rowPtr(rows, row),
                   p.mul(p.add(first, part), p.bytesOf(rows.element))),
              width);
          x = arith::ExtFOp::create(p.b, p.loc, type, x);
          total = p.fma(x, x, total);
        }
        return {total};
      })[0];
  p.store(sum, at, 8);
}

LogicalResult sputnik::cpu::emitInputSquares(Phase &p,
                                             r1::ProductInterface product) {
  auto offset = product->getAttrOfType<IntegerAttr>(r1::kObservedAttr);
  if (!offset)
    return success();
  const Rows rows = p.rows(product.getRoundableRows()->get());
  if (!isa<FloatType>(rows.element))
    return product->emitOpError("rows of ")
           << rows.element << " cannot be observed";
  int64_t columns = product.getInnerFeatures();
  Value record = p.at(p.observed, offset.getInt());
  auto user = cast<r1::WeightUserInterface>(product.getOperation());
  if (Value layer = user.getLayerIndex())
    record = p.at(record, p.mul(p.scalars.lookup(layer),
                                r1::Observation::getRecordBytes(columns)));
  Value wanted = LLVM::ICmpOp::create(
      p.b, p.loc, LLVM::ICmpPredicate::ne, p.observed,
      LLVM::ZeroOp::create(p.b, p.loc, p.ptrType()));
  p.ifThen(wanted, [&] {
    int64_t whole = columns / kLanes;
    auto [first, last] = p.share(p.i64(llvm::divideCeil(columns, kLanes)));
    p.loop(first, p.min(last, p.i64(whole)), 1, [&](Value index) {
      addSquares(p, rows, columns, p.mul(index, kLanes), kLanes, record);
    });
    p.ifThen(p.equal(p.thread, p.i64(0)), [&] {
      for (int64_t column = whole * kLanes; column < columns; ++column)
        addSquares(p, rows, columns, p.i64(column), 1, record);
      Value at = p.at(record, columns * 8);
      Value count = arith::SIToFPOp::create(
          p.b, p.loc, p.b.getF64Type(),
          p.mul(rows.count, rows.features / columns));
      p.store(p.addf(p.load(p.b.getF64Type(), at, 8), count), at, 8);
    });
  });
  return success();
}
