//===- MergeLinears.cpp - One linear for the same rows --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_MERGELINEARSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

/// `attn_q_k_v` for attn_q, attn_k and attn_v: the words that all names start
/// with once, then the rest of each.
static std::string joinNames(ArrayRef<StringRef> names) {
  StringRef first = names.front();
  size_t common = 0;
  for (size_t i = 0; i < first.size(); ++i)
    if (first[i] == '_' && llvm::all_of(names, [&](StringRef name) {
          return name.starts_with(first.take_front(i + 1));
        }))
      common = i + 1;
  std::string joined = first.str();
  for (StringRef name : names.drop_front())
    joined += ("_" + name.drop_front(common)).str();
  return joined;
}

static int64_t getFeatures(LinearOp linear) {
  return cast<RankedTensorType>(linear.getType()).getDimSize(1);
}

namespace {
struct MergeLinears final : r1::impl::MergeLinearsPassBase<MergeLinears> {
  using Base::Base;

  /// Whether the weights of `linear` may go into others, as no other op reads
  /// them.
  bool isMergeable(LinearOp linear, SymbolTable &symbols,
                   const GraphReaders &readers) {
    SmallVector<FlatSymbolRefAttr> names;
    linear.getWeights(names);
    for (FlatSymbolRefAttr name : names) {
      RankedTensorType type = getWeightType(symbols.lookup(name.getAttr()));
      std::string obstacle;
      if (readers.lookup(name.getAttr()).size() != 1)
        obstacle = "has other readers: it would be stored twice";
      else if (getEncoding(type))
        obstacle = "is encoded already";
      else if (type.getDimSize(0) != getFeatures(linear))
        obstacle = "has more rows than the linear has features";
      if (obstacle.empty())
        continue;
      remark::missed(linear.getLoc(),
                     remark::RemarkOpts::name("Merge").category(getArgument()))
          << ("@" + name.getValue() + " not merged: it " + obstacle).str();
      return false;
    }
    return true;
  }

  /// A program that stacks the weights, or biases, of the linears.
  FlatSymbolRefAttr stack(SymbolTable &symbols, ArrayRef<LinearOp> linears,
                          StringRef name, bool bias, IntegerAttr blockRows) {
    auto nameOf = [&](LinearOp linear) {
      return bias ? linear.getBiasAttr() : linear.getWeightAttr();
    };
    LinearOp some = *llvm::find_if(linears, nameOf);
    Operation *model = symbols.lookup(nameOf(some).getAttr());
    // After the last of them, so that programs come after what they read.
    Operation *after = model;
    for (LinearOp linear : linears)
      if (FlatSymbolRefAttr other = nameOf(linear))
        if (Operation *op = symbols.lookup(other.getAttr());
            after->isBeforeInBlock(op))
          after = op;
    DerivedOp derived = createProgram(
        symbols, after, name, model->getAttrOfType<IntegerAttr>("layers"));
    OpBuilder builder(derived.getBody().front().getTerminator());
    SmallVector<Value> inputs;
    SmallVector<int64_t> shape(getWeightType(model).getShape());
    shape[0] = 0;
    for (LinearOp linear : linears) {
      int64_t rows = getFeatures(linear);
      if (FlatSymbolRefAttr source = nameOf(linear))
        inputs.push_back(
            inlineWeight(builder, symbols.lookup(source.getAttr())));
      else
        inputs.push_back(ZeroOp::create(
            builder, linear.getLoc(),
            RankedTensorType::get({rows}, builder.getF32Type())));
      shape[0] += blockRows ? llvm::alignTo(rows, blockRows.getInt()) : rows;
    }
    setProgramResult(derived, ConcatOp::create(builder, some.getLoc(),
                                               RankedTensorType::get(
                                                   shape, builder.getF32Type()),
                                               inputs, blockRows,
                                               /*part=*/nullptr));
    return FlatSymbolRefAttr::get(derived.getSymNameAttr());
  }

  void merge(SymbolTable &symbols, ArrayRef<LinearOp> linears, bool blockwise) {
    LinearOp first = linears.front();
    OpBuilder builder(first);
    IntegerAttr blockRows =
        blockwise ? builder.getI64IntegerAttr(block) : IntegerAttr();
    SmallVector<StringRef> names;
    for (LinearOp linear : linears)
      names.push_back(linear.getWeight());
    std::string name = joinNames(names);
    FlatSymbolRefAttr weight =
        stack(symbols, linears, name, /*bias=*/false, blockRows);
    FlatSymbolRefAttr bias;
    if (llvm::any_of(linears,
                     [](LinearOp op) { return bool(op.getBiasAttr()); }))
      bias = stack(symbols, linears, name + "_bias", /*bias=*/true, blockRows);

    SmallVector<Type> types;
    SmallVector<Location> locations;
    for (LinearOp linear : linears) {
      types.push_back(linear.getType());
      locations.push_back(linear.getLoc());
    }
    Location loc = builder.getFusedLoc(locations);
    int64_t rows =
        getWeightType(symbols.lookup(weight.getAttr())).getDimSize(0);
    auto whole =
        LinearOp::create(builder, loc,
                         RankedTensorType::get({ShapedType::kDynamic, rows},
                                               builder.getF32Type()),
                         first.getInput(), weight, first.getLayer(), bias,
                         first.getPreciseAttr());
    auto split =
        SplitOp::create(builder, loc, types, whole.getResult(), blockRows);
    remark::passed(loc,
                   remark::RemarkOpts::name("Merge").category(getArgument()))
        << remark::add("{0} linears merged into @{1}", linears.size(),
                       weight.getValue());
    for (auto [linear, result] : llvm::zip_equal(linears, split.getResults())) {
      LinearOp part = linear;
      part.getResult().replaceAllUsesWith(result);
      part.erase();
    }
    numMerged += linears.size();
  }

  /// The linear of `group` that gives the other factor of the SwiGLU that
  /// alone reads `gate`, or null.
  static LinearOp findPartner(LinearOp gate, ArrayRef<LinearOp> group) {
    auto swiglu = gate->hasOneUse() ? dyn_cast<SwiGLUOp>(*gate->user_begin())
                                    : SwiGLUOp();
    if (!swiglu || swiglu.getGate() != gate.getResult())
      return nullptr;
    auto up = swiglu.getUp().getDefiningOp<LinearOp>();
    return up && up->hasOneUse() && llvm::is_contained(group, up) ? up
                                                                  : nullptr;
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (block < 1) {
      module.emitError("block must be at least 1, found ") << block.getValue();
      return signalPassFailure();
    }
    SymbolTable symbols(module);
    GraphReaders readers = collectGraphReaders(module);

    // Linears by what they read, in program order.
    llvm::MapVector<std::tuple<Block *, Value, Value, int>,
                    SmallVector<LinearOp>>
        groups;
    module.walk<WalkOrder::PreOrder>([&](LinearOp linear) {
      groups[{linear->getBlock(), linear.getInput(), linear.getLayer(),
              linear.getPrecise()}]
          .push_back(linear);
    });
    for (auto &[key, group] : groups) {
      if (group.size() < 2)
        continue;
      llvm::erase_if(group, [&](LinearOp linear) {
        return !isMergeable(linear, symbols, readers);
      });
      // Pairs for SwiGLU first: they need a layout of their own.
      SmallVector<std::pair<LinearOp, LinearOp>> pairs;
      for (LinearOp gate : group)
        if (LinearOp up = findPartner(gate, group))
          pairs.push_back({gate, up});
      for (auto [gate, up] : pairs) {
        llvm::erase_if(group, [gate = gate, up = up](LinearOp linear) {
          return linear == gate || linear == up;
        });
        // The merged linear stands where its first part does; the order of
        // gate and up in the blocks does not depend on that.
        if (up->isBeforeInBlock(gate))
          gate->moveBefore(up);
        merge(symbols, {gate, up}, /*blockwise=*/true);
      }
      if (group.size() > 1)
        merge(symbols, group, /*blockwise=*/false);
    }
    module.walk([&](ExpertsUpOp up) { mergeExperts(up, symbols, readers); });
    eraseUnreadWeights(module);
  }

  /// Gate and up of each expert in blocks, as those of one SwiGLU.
  void mergeExperts(ExpertsUpOp op, SymbolTable &symbols,
                    const GraphReaders &readers) {
    if (!op.getUpAttr() || readers.lookup(op.getGateAttr().getAttr()).size() != 1 ||
        readers.lookup(op.getUpAttr().getAttr()).size() != 1)
      return;
    Operation *gate = symbols.lookup(op.getGate());
    Operation *up = symbols.lookup(*op.getUp());
    if (getEncoding(getWeightType(gate)) || getEncoding(getWeightType(up)))
      return;
    DerivedOp derived = createProgram(
        symbols, gate->isBeforeInBlock(up) ? up : gate,
        joinNames({op.getGate(), *op.getUp()}),
        gate->getAttrOfType<IntegerAttr>("layers"));
    OpBuilder builder(derived.getBody().front().getTerminator());
    Value inputs[] = {inlineWeight(builder, gate), inlineWeight(builder, up)};
    int64_t part = op.getSlotFeatures();
    int64_t columns = getWeightType(gate).getDimSize(1);
    auto type = RankedTensorType::get(
        {2 * static_cast<int64_t>(op.getExperts() * llvm::alignTo(part, block)),
         columns},
        builder.getF32Type());
    setProgramResult(derived, ConcatOp::create(
                                  builder, op.getLoc(), type, inputs,
                                  builder.getI64IntegerAttr(block),
                                  builder.getI64IntegerAttr(part)));
    remark::passed(op.getLoc(),
                   remark::RemarkOpts::name("Merge").category(getArgument()))
        << remark::add("gate and up of {0} experts merged into @{1}",
                       op.getExperts(), derived.getSymName());
    op.setGateAttr(FlatSymbolRefAttr::get(derived.getSymNameAttr()));
    op.removeUpAttr();
    op.setBlockAttr(builder.getI64IntegerAttr(block));
    numMerged += 2;
  }
};
} // namespace
