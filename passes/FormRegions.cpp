//===- FormRegions.cpp - Ops into kernels ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Regions are made one after the other in place: the one around an op stands
// where the op stood, ops that join it from above move down to it, ops from
// below move up. Whether a move is sound is therefore always a question about
// the block as it is.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/SetVector.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_FORMREGIONSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {

/// Where the features of a value lie among those of the linear's result.
struct Slice {
  int64_t first = 0;    ///< Where feature 0 lies.
  bool blocked = false; ///< In blocks, beside those of other values.
};

/// The ops of a region to be, in the order in which they are in the block.
class Group {
public:
  explicit Group(Operation *anchor) : anchor(anchor), ops({anchor}) {}

  void prepend(Operation *op) { ops.insert(ops.begin(), op); }
  void append(Operation *op) { ops.push_back(op); }
  bool contains(Operation *op) const { return llvm::is_contained(ops, op); }
  ArrayRef<Operation *> getOps() const { return ops; }

  /// Whether `value` is computed in the region.
  bool defines(Value value) const {
    return value.getDefiningOp() && contains(value.getDefiningOp());
  }
  /// Whether the region may stand where the anchor is and read `value`.
  bool mayRead(Value value) const {
    Operation *definition = value.getDefiningOp();
    return !definition || contains(definition) ||
           definition->getBlock() != anchor->getBlock() ||
           definition->isBeforeInBlock(anchor);
  }
  bool readsOwn(Operation *op) const {
    return llvm::any_of(op->getOperands(),
                        [&](Value value) { return defines(value); });
  }
  bool mayReadOperands(Operation *op) const {
    return llvm::all_of(op->getOperands(),
                        [&](Value value) { return mayRead(value); });
  }
  /// Whether `op`, which touches memory, may move up to the anchor.
  bool mayMoveEffects(Operation *op) const {
    for (Operation *between = anchor->getNextNode(); between != op;
         between = between->getNextNode())
      if (!contains(between) && !isMemoryEffectFree(between))
        return false;
    return true;
  }

private:
  Operation *anchor;
  SmallVector<Operation *> ops;
};

/// What a region around a packed linear may take in.
class LinearFuser {
public:
  LinearFuser(Group &group, int64_t panel, StringRef category)
      : group(group), panel(panel), category(category) {}

  /// The selection of rows, their norm and its quantisation, as far as only
  /// the linear reads them.
  void takePrologue(LinearOp linear) {
    Value input = linear.getInput();
    takeRowWise<CastOp>(input, linear);
    takeRowWise<RMSNormOp>(input, linear);
    if (auto select = input.getDefiningOp<SelectRowsOp>();
        select && select->hasOneUse() &&
        select->getBlock() == linear->getBlock())
      group.prepend(select);
  }

  void takeEpilogue(LinearOp linear) {
    slices[linear.getResult()] = {};
    for (Operation &op : llvm::make_range(std::next(linear->getIterator()),
                                          linear->getBlock()->end())) {
      auto graphOp = dyn_cast<GraphOpInterface>(op);
      if (!graphOp || !group.readsOwn(&op))
        continue;
      std::string refusal;
      if (accepts(graphOp, refusal))
        group.append(&op);
      else if (!refusal.empty())
        remark::missed(op.getLoc(),
                       remark::RemarkOpts::name("Fuse").category(category))
            << "not fused: " + refusal;
    }
  }

private:
  /// Takes in the `Op` that gives `input`, which becomes what that op reads.
  template <typename Op> void takeRowWise(Value &input, LinearOp linear) {
    auto op = input.getDefiningOp<Op>();
    if (!op || op.getLocality() != Locality::RowWise || !op->hasOneUse() ||
        op->getBlock() != linear->getBlock())
      return;
    group.prepend(op);
    input = op.getInput();
  }

  /// Whether `op`, which reads a value of the region, may join it. Sets the
  /// slices of its results. An op that never could leaves `refusal` empty.
  bool accepts(GraphOpInterface op, std::string &refusal) {
    Locality locality = op.getLocality();
    if (locality == Locality::RowWise || locality == Locality::Anchor)
      return false;
    // An operand that is computed later has a region that may take `op` in.
    if (!group.mayReadOperands(op))
      return false;
    SmallVector<Slice> inputs;
    for (Value operand : op->getOperands())
      if (group.defines(operand))
        inputs.push_back(slices.lookup(operand));
    if (int64_t head = op.getHeadSize()) {
      if (head % panel) {
        refusal = llvm::formatv("heads of {0} features are not a multiple of "
                                "the panel of {1}",
                                head, panel);
        return false;
      }
      for (Slice slice : inputs)
        if (slice.blocked || slice.first % head || cutsHeads(head)) {
          refusal = llvm::formatv("heads of {0} features do not start where "
                                  "those of the linear do",
                                  head);
          return false;
        }
    }
    switch (locality) {
    case Locality::Elementwise:
      return acceptsElementwise(op, inputs, refusal);
    case Locality::HeadWise:
      if (inputs.size() != 1 || !group.defines(op->getOperand(0)))
        return false;
      slices[op->getResult(0)] = inputs.front();
      return true;
    case Locality::View:
      return acceptsSplit(cast<SplitOp>(op), inputs.front(), refusal);
    case Locality::Sink:
      return acceptsSink(op, refusal);
    case Locality::RowWise:
    case Locality::Anchor:
      break;
    }
    llvm_unreachable("handled above");
  }

  /// Whether a split that is in the region cuts the linear's result within one
  /// of its heads.
  bool cutsHeads(int64_t head) const {
    for (Operation *op : group.getOps())
      if (isa<SplitOp>(op))
        for (Type type : op->getResultTypes())
          if (cast<RankedTensorType>(type).getDimSize(1) % head)
            return true;
    return false;
  }

  bool acceptsElementwise(Operation *op, ArrayRef<Slice> inputs,
                          std::string &refusal) {
    Slice slice = inputs.front();
    for (Slice other : inputs)
      if (other.blocked != slice.blocked ||
          (!slice.blocked && other.first != slice.first)) {
        refusal = "its operands lie in different panels";
        return false;
      }
    slices[op->getResult(0)] = slice;
    return true;
  }

  bool acceptsSplit(SplitOp split, Slice input, std::string &refusal) {
    if (std::optional<uint64_t> block = split.getBlock()) {
      if (static_cast<int64_t>(*block) != panel || input.blocked ||
          input.first != 0) {
        refusal = llvm::formatv("blocks of {0} features are not the panels "
                                "of {1}",
                                *block, panel);
        return false;
      }
      for (Value result : split.getResults())
        slices[result] = {0, /*blocked=*/true};
      return true;
    }
    if (input.blocked)
      return false;
    SmallVector<Slice> parts;
    int64_t first = input.first;
    for (Value result : split.getResults()) {
      if (first % panel) {
        refusal = llvm::formatv("the split at feature {0} cuts a panel of {1}",
                                first, panel);
        return false;
      }
      parts.push_back({first, false});
      first += cast<RankedTensorType>(result.getType()).getDimSize(1);
    }
    for (auto [result, part] : llvm::zip_equal(split.getResults(), parts))
      slices[result] = part;
    return true;
  }

  bool acceptsSink(Operation *op, std::string &refusal) {
    for (Value operand : op->getOperands())
      if (auto type = dyn_cast<RankedTensorType>(operand.getType()))
        if (type.getRank() == 2 && !group.defines(operand)) {
          refusal = "not all of its rows come from the linear";
          return false;
        }
    if (!group.mayMoveEffects(op)) {
      refusal = "memory is used between the linear and it";
      return false;
    }
    return true;
  }

  Group &group;
  int64_t panel;
  StringRef category;
  DenseMap<Value, Slice> slices;
};

struct FormRegions final : r1::impl::FormRegionsPassBase<FormRegions> {
  using Base::Base;

  /// Moves the group into a region before `anchor`, the op it is built around.
  void wrap(const Group &group, Operation *anchor, const Twine &name) {
    llvm::SetVector<Value> results;
    SmallVector<Location> locations;
    for (Operation *op : group.getOps()) {
      locations.push_back(op->getLoc());
      for (Value result : op->getResults())
        for (Operation *user : result.getUsers())
          if (!group.contains(user))
            results.insert(result);
    }
    OpBuilder builder(anchor);
    Location loc = builder.getFusedLoc(locations);
    auto region = RegionOp::create(
        builder, loc, TypeRange(ValueRange(results.getArrayRef())),
        builder.getStringAttr(name), PartitionAttr(), ArrayAttr());
    Block *body = builder.createBlock(&region.getBody());
    for (Operation *op : group.getOps())
      op->moveBefore(body, body->end());
    builder.setInsertionPointToEnd(body);
    YieldOp::create(builder, loc, results.getArrayRef());
    for (auto [i, outer] : llvm::enumerate(region.getResults()))
      Value(results[i]).replaceUsesWithIf(outer, [&](OpOperand &use) {
        return !region->isAncestor(use.getOwner());
      });
    ++numRegions;
    numFused += group.getOps().size() - 1;
    if (group.getOps().size() > 1)
      remark::passed(loc,
                     remark::RemarkOpts::name("Fuse").category(getArgument()))
          << remark::add("region {0} of {1} ops", name.str(),
                         group.getOps().size());
  }

  static StringRef opName(Operation *op) {
    return op->getName().stripDialect();
  }

  void formLinear(LinearOp linear, PhaseKind phase) {
    Group group(linear);
    EncodingAttr encoding =
        getEncoding(lookupWeightType(linear, linear.getWeightAttr()));
    if (encoding && encoding.getPanel() > 1) {
      LinearFuser fuser(group, encoding.getPanel(), getArgument());
      // With many rows, each would be normalised and quantised again for every
      // range of features: there that is a region of its own.
      if (phase != PhaseKind::Prefill)
        fuser.takePrologue(linear);
      fuser.takeEpilogue(linear);
    } else {
      remark::missed(linear.getLoc(),
                     remark::RemarkOpts::name("Fuse").category(getArgument()))
          << remark::add("not fused: {0} is not packed", linear.getWeight());
    }
    wrap(group, linear, linear.getWeight());
  }

  void formAttention(AttentionOp attention) {
    Group group(attention);
    for (Operation *user : attention->getUsers()) {
      // A cast to i8 needs rows, of which threads have a head each.
      auto cast = dyn_cast<CastOp>(user);
      if (cast && cast.getLocality() == Locality::Elementwise &&
          cast->getBlock() == attention->getBlock()) {
        group.append(cast);
        break;
      }
    }
    wrap(group, attention, opName(attention));
  }

  /// A chain of ops that work on each row by itself, from `first` on.
  void formRowChain(Operation *first) {
    Group group(first);
    std::string name = opName(first).str();
    for (Operation &op : llvm::make_range(std::next(first->getIterator()),
                                          first->getBlock()->end())) {
      auto graphOp = dyn_cast<GraphOpInterface>(op);
      if (!graphOp || graphOp.getLocality() == Locality::Anchor ||
          !group.readsOwn(&op) || !group.mayReadOperands(&op))
        continue;
      if (!isMemoryEffectFree(&op) && !group.mayMoveEffects(&op))
        continue;
      group.append(&op);
      name += ("+" + opName(&op)).str();
    }
    wrap(group, first, name);
  }

  static bool isWrapped(Operation &op) {
    return isa<RegionOp, LayersOp>(op) || op.hasTrait<OpTrait::IsTerminator>();
  }

  void fuseBlock(Block &block, PhaseKind phase) {
    // Linears first: they gain most from what they take in. The rest joins
    // what is left.
    for (auto linear : llvm::to_vector(block.getOps<LinearOp>()))
      formLinear(linear, phase);
    for (auto attention : llvm::to_vector(block.getOps<AttentionOp>()))
      formAttention(attention);
    for (Operation *op = &block.front(); op; op = op->getNextNode()) {
      auto graphOp = dyn_cast<GraphOpInterface>(op);
      if (!graphOp)
        continue;
      Operation *before = op->getPrevNode();
      if (graphOp.getLocality() != Locality::Anchor || isa<SelectRowsOp>(op))
        formRowChain(op);
      else
        wrap(Group(op), op, opName(op));
      op = before ? before->getNextNode() : &block.front();
    }
  }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      SmallVector<Block *> blocks = {&function.front()};
      function.walk([&](LayersOp layers) {
        blocks.push_back(&layers.getBody().front());
      });
      auto attr = function->getAttrOfType<PhaseAttr>(kPhaseAttr);
      // An unspecialised function may be called with any number of rows.
      PhaseKind phase = attr ? attr.getKind() : PhaseKind::Prefill;
      for (Block *block : blocks) {
        for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
          if (isOpTriviallyDead(&op))
            op.erase();
        for (Operation &op : *block)
          if (!isWrapped(op) && !isa<GraphOpInterface>(op)) {
            op.emitOpError(
                "is not an op of the r1 graph: no region can hold it");
            return signalPassFailure();
          }
        if (fuse) {
          fuseBlock(*block, phase);
          continue;
        }
        for (Operation &op : llvm::make_early_inc_range(*block))
          if (!isWrapped(op))
            wrap(Group(&op), &op, opName(&op));
      }
    }
  }
};
} // namespace
