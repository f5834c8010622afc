//===- PlaceWeights.cpp - Weights in the image ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"
#include "passes/WeightPrograms.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/MathExtras.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_PLACEWEIGHTSPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {

/// Vectors start on a cache line; layers of more than kLarge bytes on a page,
/// so that reading one touches no page of another.
constexpr int64_t kAlignment = 64, kPage = 4096, kLarge = 1 << 20;

/// Weights read in one r1.layers, or one weight outside.
struct Group {
  LayersOp loop;
  llvm::SetVector<Operation *> weights;
};

struct PlaceWeights final : r1::impl::PlaceWeightsPassBase<PlaceWeights> {
  using Base::Base;

  LogicalResult collect(SymbolTable &symbols, SmallVectorImpl<Group> &groups) {
    // Decode reads every weight once per token: its order comes first. The
    // other phases only add what decode does not read.
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto phase = function->getAttrOfType<PhaseAttr>(kPhaseAttr);
      bool decode = phase && phase.getKind() == PhaseKind::Decode;
      functions.insert(decode ? functions.begin() : functions.end(), function);
    }
    llvm::DenseSet<Operation *> seen;
    for (func::FuncOp function : functions) {
      LayersOp current;
      WalkResult result = function.walk<WalkOrder::PreOrder>(
          [&](WeightUserInterface op) -> WalkResult {
            SmallVector<FlatSymbolRefAttr> names;
            op.getWeights(names);
            for (FlatSymbolRefAttr name : names) {
              auto weight = symbols.lookup<DerivedOp>(name.getAttr());
              if (!weight || !getEncoding(weight.getType()))
                return op->emitError()
                       << name
                       << " has no encoding, so it has no place in the image; "
                          "r1-encode-weights gives it one";
              LayersOp loop;
              if (Value layer = op.getLayerIndex()) {
                loop =
                    dyn_cast<LayersOp>(layer.getParentBlock()->getParentOp());
                if (!loop || loop.getLayer() != layer)
                  return op->emitError("needs the layer of an r1.layers");
                if (static_cast<int64_t>(loop.getCount()) !=
                    getWeightLayers(weight))
                  return op->emitError()
                         << name << " has " << getWeightLayers(weight)
                         << " layers in a loop over " << loop.getCount();
              }
              if (!seen.insert(weight).second)
                continue;
              if (!loop || loop != current)
                groups.push_back({loop, {}});
              current = loop;
              groups.back().weights.insert(weight);
            }
            return WalkResult::advance();
          });
      if (result.wasInterrupted())
        return failure();
    }
    return success();
  }

  /// Places the group at `end`, which moves behind it; fails on overflow.
  LogicalResult place(Group &group, int64_t &end) {
    SmallVector<int64_t> offsets;
    int64_t size = 0, used = 0;
    for (Operation *weight : group.weights) {
      RankedTensorType type = getWeightType(weight);
      int64_t bytes = getEncoding(type).getBytes(type.getShape());
      offsets.push_back(size);
      used += bytes;
      if (llvm::AddOverflow(
              size, static_cast<int64_t>(llvm::alignTo(bytes, kAlignment)),
              size))
        return failure();
    }
    int64_t alignment = size > kLarge ? kPage : kAlignment;
    int64_t stride = llvm::alignTo(size, alignment);
    int64_t layers = group.loop ? group.loop.getCount() : 1;
    int64_t start = llvm::alignTo(end, alignment), total;
    if (llvm::MulOverflow(stride, layers, total) ||
        llvm::AddOverflow(start, total, end))
      return failure();
    for (auto [weight, offset] : llvm::zip_equal(group.weights, offsets))
      cast<DerivedOp>(weight).setPlacementAttr(PlacementAttr::get(
          &getContext(), start + offset, group.loop ? stride : 0));
    paddingBytes += total - layers * used;
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    SmallVector<Group> groups;
    if (failed(collect(symbols, groups)))
      return signalPassFailure();
    int64_t end = 0;
    for (Group &group : groups)
      if (failed(place(group, end))) {
        group.weights.front()->emitError(
            "the image would have more than 2^63 bytes");
        return signalPassFailure();
      }
    imageBytes += end;
    remark::analysis(module.getLoc(),
                     remark::RemarkOpts::name("Image").category(getArgument()))
        << remark::add("the image has {0} bytes", end);
    module->setAttr(kImageBytesAttr,
                    IntegerAttr::get(IntegerType::get(&getContext(), 64), end));
  }
};
} // namespace
