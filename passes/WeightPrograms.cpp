//===- WeightPrograms.cpp - Rewriting weights and their programs ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/WeightPrograms.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace sputnik::r1;

GraphReaders sputnik::r1::collectGraphReaders(ModuleOp module) {
  GraphReaders readers;
  module.walk<WalkOrder::PreOrder>([&](WeightUserInterface op) {
    SmallVector<FlatSymbolRefAttr> names;
    op.getWeights(names);
    for (FlatSymbolRefAttr name : names)
      readers[name.getAttr()].push_back(op);
  });
  return readers;
}

RankedTensorType sputnik::r1::getWeightType(Operation *op) {
  return cast<RankedTensorType>(isa<WeightOp>(op)
                                    ? cast<WeightOp>(op).getType()
                                    : cast<DerivedOp>(op).getType());
}

Value sputnik::r1::getProgramResult(DerivedOp derived) {
  return derived.getBody().front().getTerminator()->getOperand(0);
}

void sputnik::r1::setProgramResult(DerivedOp derived, Value value) {
  derived.getBody().front().getTerminator()->setOperands(value);
  derived.setType(cast<RankedTensorType>(value.getType()));
}

void sputnik::r1::setProgramEncoding(DerivedOp derived, EncodingAttr encoding) {
  Value value = getProgramResult(derived);
  auto encode = value.getDefiningOp<EncodeOp>();
  if (encode)
    value = encode.getValue();
  auto plain = cast<RankedTensorType>(value.getType());
  OpBuilder builder(derived.getBody().front().getTerminator());
  setProgramResult(derived,
                   EncodeOp::create(builder, derived.getLoc(),
                                    plain.cloneWithEncoding(encoding), value));
  if (encode && encode->use_empty())
    encode.erase();
}

Value sputnik::r1::inlineWeight(OpBuilder &builder, Operation *weight) {
  auto derived = dyn_cast<DerivedOp>(weight);
  if (!derived)
    return ReadOp::create(
        builder, weight->getLoc(), getWeightType(weight),
        FlatSymbolRefAttr::get(SymbolTable::getSymbolName(weight)));
  IRMapping mapping;
  for (Operation &op : derived.getBody().front().without_terminator())
    builder.clone(op, mapping);
  return mapping.lookup(getProgramResult(derived));
}

static SmallVector<ReadOp> collectProgramReaders(ModuleOp module,
                                                 StringAttr name) {
  SmallVector<ReadOp> readers;
  for (auto derived : module.getOps<DerivedOp>())
    for (auto read : derived.getBody().getOps<ReadOp>())
      if (read.getWeightAttr().getAttr() == name)
        readers.push_back(read);
  return readers;
}

DerivedOp sputnik::r1::getOwnProgram(SymbolTable &symbols, Operation *weight) {
  auto module = cast<ModuleOp>(symbols.getOp());
  StringAttr name = SymbolTable::getSymbolName(weight);
  SmallVector<ReadOp> programReaders = collectProgramReaders(module, name);
  if (auto derived = dyn_cast<DerivedOp>(weight);
      derived && programReaders.empty())
    return derived;

  symbols.remove(weight);
  SymbolTable::setSymbolName(weight, (name.getValue() + ".source").str());
  StringAttr source = symbols.insert(weight);
  for (ReadOp read : programReaders)
    read.setWeightAttr(FlatSymbolRefAttr::get(source));

  DerivedOp derived = createProgram(
      symbols, weight, name, weight->getAttrOfType<IntegerAttr>("layers"));
  OpBuilder builder(derived.getBody().front().getTerminator());
  setProgramResult(derived, inlineWeight(builder, weight));
  return derived;
}

DerivedOp sputnik::r1::createProgram(SymbolTable &symbols, Operation *after,
                                     StringRef name, IntegerAttr layers) {
  OpBuilder builder(after->getContext());
  auto derived = DerivedOp::create(
      builder, after->getLoc(), builder.getStringAttr(name),
      TypeAttr::get(getWeightType(after)), layers, PlacementAttr());
  builder.createBlock(&derived.getBody());
  // The operand is set by the caller; a terminator must be there to build
  // before it.
  YieldOp::create(builder, after->getLoc(), ValueRange());
  symbols.insert(derived, std::next(after->getIterator()));
  return derived;
}

int64_t sputnik::r1::eraseUnreadWeights(ModuleOp module) {
  int64_t erased = 0;
  for (bool changed = true; changed;) {
    changed = false;
    llvm::DenseSet<StringAttr> read;
    module.walk([&](Operation *op) {
      if (auto program = dyn_cast<ReadOp>(op)) {
        read.insert(program.getWeightAttr().getAttr());
      } else if (auto user = dyn_cast<WeightUserInterface>(op)) {
        SmallVector<FlatSymbolRefAttr> names;
        user.getWeights(names);
        for (FlatSymbolRefAttr name : names)
          read.insert(name.getAttr());
      }
    });
    for (Operation &op : llvm::make_early_inc_range(module.getOps()))
      if (isa<WeightOp, DerivedOp>(op) &&
          !read.contains(SymbolTable::getSymbolName(&op))) {
        op.erase();
        changed = true;
        ++erased;
      }
  }
  return erased;
}
