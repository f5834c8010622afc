//===- IsolateRegion.cpp - One region by itself ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/SetVector.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_ISOLATEREGIONPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {
struct IsolateRegion final : r1::impl::IsolateRegionPassBase<IsolateRegion> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    bool found = false;
    for (auto function :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (!function->hasAttr(kPhaseAttr))
        continue;
      RegionOp region = find(function);
      found |= region != nullptr;
      if (failed(isolate(function, region)))
        return signalPassFailure();
    }
    if (!found) {
      module.emitError("no phase has a region \"")
          << region << "\" of number " << number.getValue();
      return signalPassFailure();
    }
    dropWeights(module);
  }

  /// The region that is asked for, null if `function` has none.
  RegionOp find(func::FuncOp function) {
    RegionOp found;
    int64_t left = number;
    function.walk<WalkOrder::PreOrder>([&](RegionOp op) {
      if (op.getName() != region || --left > 0)
        return WalkResult::skip();
      found = op;
      return WalkResult::interrupt();
    });
    return found;
  }

  LogicalResult isolate(func::FuncOp function, RegionOp region);
  void dropWeights(ModuleOp module);
};
} // namespace

/// Where `value`, made by a region or standing for the stream of a loop, lies.
static BufferAttr findBuffer(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto layers = dyn_cast<LayersOp>(argument.getOwner()->getParentOp());
    return layers ? findBuffer(layers.getInput()) : nullptr;
  }
  if (auto layers = value.getDefiningOp<LayersOp>())
    return findBuffer(layers.getInput());
  auto region = value.getDefiningOp<RegionOp>();
  if (!region || !region.getBuffers())
    return nullptr;
  return cast<BufferAttr>(
      (*region.getBuffers())[cast<OpResult>(value).getResultNumber()]);
}

/// Puts a function in the place of `function` that has only `region` (if not
/// null), in its loop over the layers, and takes what that reads. It returns
/// logits if the region makes them.
LogicalResult IsolateRegion::isolate(func::FuncOp function, RegionOp region) {
  Block &old = function.front();
  LayersOp layers = region ? region->getParentOfType<LayersOp>() : nullptr;
  llvm::SetVector<Value> inputs;
  if (layers)
    inputs.insert(layers.getInput());
  if (region)
    region->walk([&](Operation *op) {
      for (Value operand : op->getOperands()) {
        Operation *owner = operand.getParentBlock()->getParentOp();
        bool argument = isa<BlockArgument>(operand) &&
                        (owner == function || owner == layers);
        if (!argument && !region->isAncestor(owner))
          inputs.insert(operand);
      }
    });

  OpBuilder builder(function);
  auto alone = cast<func::FuncOp>(builder.cloneWithoutRegions(*function));
  SmallVector<Type> types(function.getArgumentTypes());
  for (Value input : inputs)
    types.push_back(input.getType());
  Block *block = builder.createBlock(
      &alone.getBody(), {}, types,
      SmallVector<Location>(types.size(), function.getLoc()));
  IRMapping mapping;
  mapping.map(old.getArguments(),
              block->getArguments().take_front(old.getNumArguments()));
  mapping.map(inputs.getArrayRef(),
              block->getArguments().drop_front(old.getNumArguments()));

  SmallVector<Value> logits;
  if (layers) {
    auto loop = cast<LayersOp>(builder.cloneWithoutRegions(*layers, mapping));
    OpBuilder::InsertionGuard guard(builder);
    Block &body = layers.getBody().front();
    Block *copy =
        builder.createBlock(&loop.getBody(), {}, body.getArgumentTypes(),
                            SmallVector<Location>(2, layers.getLoc()));
    mapping.map(body.getArguments(), copy->getArguments());
    builder.clone(*region, mapping);
    YieldOp::create(builder, layers.getLoc(), loop.getStream());
  } else if (region) {
    Operation *copy = builder.clone(*region, mapping);
    for (auto [result, copied] :
         llvm::zip_equal(region.getResults(), copy->getResults()))
      if (BufferAttr buffer = findBuffer(result); buffer && buffer.getLogits())
        logits.push_back(copied);
  }
  func::ReturnOp::create(builder, function.getLoc(), logits);
  SmallVector<DictionaryAttr> attributes;
  function.getAllArgAttrs(attributes);
  attributes.resize(types.size(), builder.getDictionaryAttr({}));
  alone.removeResAttrsAttr();
  alone.setFunctionType(
      builder.getFunctionType(types, TypeRange(ValueRange(logits))));
  alone.setAllArgAttrs(attributes);

  for (auto [i, input] : llvm::enumerate(inputs)) {
    BufferAttr buffer = findBuffer(input);
    if (!buffer)
      return region.emitError("reads what lies nowhere; r1-plan-memory places "
                              "the results of regions");
    unsigned index = old.getNumArguments() + i;
    alone.setArgAttr(index, kBufferAttr, buffer);
    if (countsOutputs(input))
      alone.setArgAttr(index, kOutputRowsAttr, builder.getUnitAttr());
  }
  if (region) {
    ++numIsolated;
    remark::analysis(region.getLoc(), remark::RemarkOpts::name("Isolated")
                                          .category(getArgument()))
        << remark::add("{0} keeps \"{1}\" with {2} inputs from the arena",
                       function.getSymName(), region.getName(), inputs.size());
  }
  function.erase();
  return success();
}

/// Makes zeros of all weights, which then need no checkpoint, and erases those
/// that nothing reads any more.
void IsolateRegion::dropWeights(ModuleOp module) {
  for (auto derived : module.getOps<DerivedOp>()) {
    auto type = cast<RankedTensorType>(derived.getType());
    Block &body = derived.getBody().front();
    body.clear();
    OpBuilder builder = OpBuilder::atBlockEnd(&body);
    Value zero = ZeroOp::create(
        builder, derived.getLoc(),
        RankedTensorType::get(type.getShape(), type.getElementType()));
    Value encoded = EncodeOp::create(builder, derived.getLoc(), type, zero);
    YieldOp::create(builder, derived.getLoc(), encoded);
  }
  numErased += eraseUnreadWeights(module);
}
