//===- LowerRegions.cpp - Regions to kernels ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/LowerRegions.h"

#include "codegen/gpu/Region.h"
#include "codegen/gpu/RowOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace {

/// Emits the kernels of one phase and plans their launches.
class PhaseLowering {
public:
  PhaseLowering(func::FuncOp function, r1::PhaseAttr phase,
                r1::TargetAttr target, ModuleOp code)
      : function(function), phase(phase), target(target), code(code),
        builder(code.getContext()) {}

  FailureOr<PhasePlan> run();

private:
  LogicalResult lower(Block &block, int64_t layers, std::vector<Launch> &plan);
  LogicalResult lower(r1::RegionOp region, std::vector<Launch> &launches);
  /// Experts in stages where their product is one of matrices, else row by row.
  template <typename Op>
  LogicalResult lowerExperts(Op op, r1::RegionOp region, StringRef name,
                             std::vector<Launch> &launches,
                             ArrayRef<ExpertsStage> stages,
                             FailureOr<Grid> (*emitRows)(Kernel &, Op));
  /// Emits one kernel of a region; `suffix` tells it from the others.
  LogicalResult addKernel(r1::RegionOp region, StringRef symbol,
                          StringRef suffix, std::vector<Launch> &launches,
                          function_ref<FailureOr<Grid>(Kernel &)> emit);
  /// Buffers of the values that `region` reads and of those that it gives.
  LogicalResult placeValues(Kernel &kernel);
  LogicalResult placeArgument(Kernel &kernel, Value value);

  func::FuncOp function;
  r1::PhaseAttr phase;
  r1::TargetAttr target;
  ModuleOp code;
  OpBuilder builder;
  std::vector<cpu::RegionWork> kernels;
  int64_t activationBytes = 0, arenaBytes = 0, index = 0;
};

} // namespace

LogicalResult PhaseLowering::placeArgument(Kernel &k, Value value) {
  unsigned number = cast<BlockArgument>(value).getArgNumber();
  constexpr Argument kIndices[] = {kTokens, kSlots, kPositions, kOutputs};
  if (number < std::size(kIndices)) {
    k.setRows(value, {k.argument(kIndices[number]), 4, k.b.getI32Type(),
                      number == kOutputs ? k.outputCount : k.rowCount, 1});
    return success();
  }
  auto buffer =
      function.getArgAttrOfType<r1::BufferAttr>(number, r1::kBufferAttr);
  if (!buffer)
    return function.emitOpError("takes argument ")
           << number << " from nowhere; expected rows with "
           << r1::kBufferAttr;
  auto type = cast<RankedTensorType>(value.getType());
  k.setRows(value, {k.activations(buffer.getOffset()), buffer.getStride(),
                    type.getElementType(), k.rowCount, type.getDimSize(1)});
  return success();
}

LogicalResult PhaseLowering::placeValues(Kernel &k) {
  auto place = [&](Value value, Value inner) -> LogicalResult {
    auto region = r1::getStreamOrigin(value).getDefiningOp<r1::RegionOp>();
    if (!region || !region.getBuffers())
      return k.region.emitOpError("reads a value that lies in no buffer");
    unsigned number = cast<OpResult>(r1::getStreamOrigin(value)).getResultNumber();
    auto buffer = cast<r1::BufferAttr>((*region.getBuffers())[number]);
    auto type = cast<RankedTensorType>(value.getType());
    Value base = buffer.getLogits()
                     ? k.argument(kLogits)
                     : k.activations(buffer.getOffset());
    k.setRows(inner, {base, buffer.getStride(), type.getElementType(),
                      k.countOf(value), type.getDimSize(1)});
    return success();
  };
  Operation *yield = k.region.getBody().front().getTerminator();
  for (auto [result, inner] :
       llvm::zip_equal(k.region.getResults(), yield->getOperands()))
    if (failed(place(result, inner)))
      return failure();
  WalkResult walk = k.region.walk([&](Operation *op) {
    for (Value operand : op->getOperands()) {
      auto type = dyn_cast<RankedTensorType>(operand.getType());
      if (!type || k.hasRows(operand) ||
          k.region->isAncestor(operand.getParentBlock()->getParentOp()))
        continue;
      Value origin = r1::getStreamOrigin(operand);
      if (failed(isa<BlockArgument>(origin) ? placeArgument(k, origin)
                                            : place(operand, operand)))
        return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

static LogicalResult verifyOps(r1::RegionOp region) {
  for (Operation &op : region.getBody().front().without_terminator())
    if (!isa<r1::LinearOp, r1::AttentionOp, r1::LatentAttentionOp,
             r1::ExpertsUpOp, r1::ExpertsDownOp>(op) &&
        !isRowOp(&op))
      return op.emitOpError("has no kernel for a GPU");
  return success();
}

template <typename Op> static Op findOp(r1::RegionOp region) {
  auto ops = region.getBody().getOps<Op>();
  return ops.empty() ? Op() : *ops.begin();
}

LogicalResult PhaseLowering::lower(r1::RegionOp region,
                                   std::vector<Launch> &launches) {
  if (!region.getPartition() ||
      (region.getNumResults() && !region.getBuffers()))
    return region.emitOpError("needs a partition and buffers before code can "
                              "be made");
  if (failed(verifyOps(region)))
    return failure();
  std::string name =
      (function.getName() + "_" + Twine(index++) + "_" + region.getName())
          .str();
  for (char &c : name)
    if (!llvm::isAlnum(c))
      c = '_';
  if (auto linear = findOp<r1::LinearOp>(region)) {
    auto emit = isWarpgroupProduct(phase, linear, target) ? emitWarpgroupProduct
                : isMatrixProduct(phase, linear)          ? emitMatrixProduct
                                                          : emitLinear;
    return addKernel(region, name, "", launches,
                     [&](Kernel &k) { return emit(k, linear); });
  }
  if (auto attention = findOp<r1::AttentionOp>(region)) {
    auto emit = isWarpgroupAttention(phase, attention, target)
                    ? emitWarpgroupAttention
                : isFlashAttention(phase, attention) ? emitFlashAttention
                                                     : emitAttention;
    return addKernel(region, name, "", launches,
                     [&](Kernel &k) { return emit(k, attention); });
  }
  if (auto experts = findOp<r1::ExpertsUpOp>(region))
    return lowerExperts(experts, region, name, launches,
                        {ExpertsStage::Sort, ExpertsStage::Multiply},
                        emitExpertsUp);
  if (auto experts = findOp<r1::ExpertsDownOp>(region))
    return lowerExperts(experts, region, name, launches,
                        {ExpertsStage::Sort, ExpertsStage::Multiply,
                         ExpertsStage::Combine},
                        emitExpertsDown);
  if (auto attention = findOp<r1::LatentAttentionOp>(region)) {
    for (auto [suffix, stage] :
         {std::pair("_absorb", LatentStage::Absorb),
          std::pair("_attend", LatentStage::Attend),
          std::pair("_values", LatentStage::Values)})
      if (failed(addKernel(region, name, suffix, launches,
                           [&, stage = stage](Kernel &k) {
                             return emitLatentAttention(k, attention, stage);
                           })))
        return failure();
    return success();
  }
  return addKernel(region, name, "", launches, emitRowRegion);
}

template <typename Op>
LogicalResult PhaseLowering::lowerExperts(
    Op op, r1::RegionOp region, StringRef name, std::vector<Launch> &launches,
    ArrayRef<ExpertsStage> stages,
    FailureOr<Grid> (*emitRows)(Kernel &, Op)) {
  if (!isExpertsProduct(phase, op, target))
    return addKernel(region, name, "", launches,
                     [&](Kernel &k) { return emitRows(k, op); });
  constexpr StringLiteral suffixes[] = {"_sort", "_multiply", "_combine"};
  for (ExpertsStage stage : stages)
    if (failed(addKernel(region, name, suffixes[static_cast<int>(stage)],
                         launches, [&](Kernel &k) {
                           return emitExpertsProduct(k, op, stage);
                         })))
      return failure();
  return success();
}

LogicalResult
PhaseLowering::addKernel(r1::RegionOp region, StringRef symbol,
                         StringRef suffix, std::vector<Launch> &launches,
                         function_ref<FailureOr<Grid>(Kernel &)> emit) {
  std::string name = (symbol + suffix).str();
  Kernel kernel(builder, code, region, name, phase, target, activationBytes);
  if (failed(placeValues(kernel)))
    return failure();
  if (auto linear = findOp<r1::LinearOp>(region);
      linear && kernel.startsEarly() && !isMatrixProduct(phase, linear) &&
      !isWarpgroupProduct(phase, linear, target))
    prefetchLinear(kernel, linear);
  kernel.awaitPrevious();
  FailureOr<Grid> grid = emit(kernel);
  if (failed(grid))
    return failure();
  kernel.finish();
  if (kernel.getSharedBytes() > target.getL1())
    return region.emitOpError("needs ")
           << kernel.getSharedBytes() << " bytes of shared memory, "
           << target.getCpu() << " has " << target.getL1();
  arenaBytes = std::max(arenaBytes, kernel.getArenaBytes());
  bool perOutput = region.getNumResults() &&
                   r1::countsOutputs(region.getResult(0));
  launches.push_back({name, grid->blocks, kernel.getThreads(),
                      grid->rowTile, perOutput, kernel.getSharedBytes(),
                      /*layer=*/-1, static_cast<int64_t>(kernels.size())});
  cpu::RegionWork work = cpu::countWork(
      region, function.getName(),
      [&](Operation *weight) { return kernel.reads(weight); },
      kernel.readsCache());
  work.name += suffix;
  kernels.push_back(std::move(work));
  return success();
}

LogicalResult PhaseLowering::lower(Block &block, int64_t layers,
                                   std::vector<Launch> &plan) {
  std::vector<Launch> once;
  for (Operation &op : block) {
    if (auto region = dyn_cast<r1::RegionOp>(op)) {
      if (failed(lower(region, once)))
        return failure();
    } else if (auto inner = dyn_cast<r1::LayersOp>(op)) {
      if (failed(lower(inner.getBody().front(), inner.getCount(), once)))
        return failure();
    } else if (!op.hasTrait<OpTrait::IsTerminator>()) {
      return op.emitOpError("is in no region");
    }
  }
  if (!layers) {
    llvm::append_range(plan, once);
    return success();
  }
  for (int64_t layer = 0; layer < layers; ++layer)
    for (Launch launch : once) {
      launch.layer = layer;
      plan.push_back(launch);
    }
  return success();
}

FailureOr<PhasePlan> PhaseLowering::run() {
  auto arena = function->getAttrOfType<IntegerAttr>(r1::kArenaBytesAttr);
  if (!arena)
    return function.emitOpError("has no memory plan");
  if (function.getNumArguments() < r1::kStepInputs)
    return function.emitOpError("must take tokens, slots, positions, outputs "
                                "and the cache");
  activationBytes = llvm::alignTo(arena.getInt(), 64);
  if (function.getNumResults() == 0)
    return function.emitOpError("must give logits");
  PhasePlan plan{
      function.getName().str(), phase, {}, 0, activationBytes,
      cast<RankedTensorType>(function.getResultTypes()[0]).getDimSize(1), {}};
  if (failed(lower(function.front(), 0, plan.launches)))
    return failure();
  plan.arenaBytes = arenaBytes;
  plan.kernels = std::move(kernels);
  return plan;
}

FailureOr<std::vector<PhasePlan>>
sputnik::gpu::emitKernels(ModuleOp module, ModuleOp code,
                          r1::TargetAttr target) {
  std::vector<PhasePlan> plans;
  for (auto function : module.getOps<func::FuncOp>()) {
    auto phase = function->getAttrOfType<r1::PhaseAttr>(r1::kPhaseAttr);
    if (!phase)
      continue;
    FailureOr<PhasePlan> plan =
        PhaseLowering(function, phase, target, code).run();
    if (failed(plan))
      return failure();
    plans.push_back(std::move(*plan));
  }
  return plans;
}
