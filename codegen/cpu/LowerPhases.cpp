//===- LowerPhases.cpp - Regions to code ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/LowerPhases.h"

#include "codegen/cpu/Barrier.h"
#include "codegen/cpu/DotPrimitive.h"
#include "codegen/cpu/InputSquares.h"
#include "codegen/cpu/Phase.h"
#include "codegen/cpu/RegionTimes.h"
#include "codegen/cpu/WeightShare.h"
#include "passes/ObserveInputs.h"
#include "runtime/Abi.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

/// The argument of a phase that says which rows have outputs.
static constexpr unsigned kOutputs = 3;

namespace {

/// Walks a phase and emits its regions in order, with barriers between them
/// where data crosses threads.
class PhaseEmitter {
public:
  /// `firstRegion` is the index of the phase's first region.
  PhaseEmitter(Phase &phase, func::FuncOp function, int64_t firstRegion)
      : p(phase), function(function), firstRegion(firstRegion) {}

  /// Places what the function takes beside tokens, slots, positions, outputs
  /// and cache.
  LogicalResult placeInputs();
  LogicalResult emit(Block &block);

  /// The regions emitted, in order.
  SmallVector<r1::RegionOp> regions;

private:
  LogicalResult emitRegion(r1::RegionOp region);
  LogicalResult emitKernel(r1::RegionOp region);
  LogicalResult emitProduct(r1::ProductInterface product);
  LogicalResult emitLayers(r1::LayersOp layers);
  bool endsWithOutputs(r1::LayersOp layers);
  Value firstOutput();
  Rows place(Value value, r1::BufferAttr buffer);
  /// Threads keep to their own rows from one region by tokens to the next, as
  /// long as no row lies where another thread's row of another buffer does.
  bool needsBarrier(r1::RegionOp region) const;
  /// Waits for all threads, before they begin `next`.
  void wait(r1::RegionOp next) {
    p.wait(firstWeights(next));
    sinceBarrier.clear();
  }
  /// What this thread reads first of a region's weights, as far as that is known.
  std::optional<Phase::Bytes> firstWeights(r1::RegionOp region);

  Phase &p;
  func::FuncOp function;
  const int64_t firstRegion;
  /// The layer that is being emitted, null outside.
  Value layer;
  /// Whether the next region is the first of a layer, which others of the layer
  /// before may precede.
  bool startsLayer = false;
  /// In the last layers, the region behind which the last layer has only the rows
  /// from `firstRow` on, where that is not null.
  r1::RegionOp lastOfAllRows;
  Value firstRow;
  /// Regions that threads may still be in.
  SmallVector<r1::RegionOp> sinceBarrier;
};

} // namespace

static bool overOutputs(r1::RegionOp region) {
  return region.getNumResults() && r1::countsOutputs(region.getResult(0));
}

static bool byTokens(r1::RegionOp region) {
  return region.getPartition()->getKind() == r1::SplitKind::Tokens;
}

static SmallVector<r1::BufferAttr> resultBuffers(r1::RegionOp region) {
  SmallVector<r1::BufferAttr> buffers;
  if (region.getBuffers())
    for (auto buffer : region.getBuffers()->getAsRange<r1::BufferAttr>())
      buffers.push_back(buffer);
  return buffers;
}

/// Where `value` lies, null for what is not in the arena.
static r1::BufferAttr bufferOf(Value value) {
  value = r1::getStreamOrigin(value);
  auto region = value.getDefiningOp<r1::RegionOp>();
  if (!region)
    return nullptr;
  return resultBuffers(region)[cast<OpResult>(value).getResultNumber()];
}

bool PhaseEmitter::needsBarrier(r1::RegionOp region) const {
  if (sinceBarrier.empty())
    return false;
  if (!byTokens(region))
    return true;
  SmallVector<r1::BufferAttr> written = resultBuffers(region);
  int64_t rows = p.attr.getMaxRows();
  auto collides = [&](r1::BufferAttr other) {
    return llvm::any_of(written, [&](r1::BufferAttr buffer) {
      return buffer != other && !buffer.getLogits() && !other.getLogits() &&
             buffer.getOffset() < other.getOffset() + rows * other.getStride() &&
             other.getOffset() < buffer.getOffset() + rows * buffer.getStride();
    });
  };
  for (r1::RegionOp earlier : sinceBarrier) {
    if (!byTokens(earlier) || overOutputs(earlier) != overOutputs(region) ||
        llvm::any_of(resultBuffers(earlier), collides))
      return true;
    WalkResult reads = earlier.walk([&](Operation *op) {
      for (Value operand : op->getOperands())
        if (r1::BufferAttr buffer = bufferOf(operand);
            buffer && collides(buffer))
          return WalkResult::interrupt();
      return WalkResult::advance();
    });
    if (reads.wasInterrupted())
      return true;
  }
  return false;
}

Rows PhaseEmitter::place(Value value, r1::BufferAttr buffer) {
  auto type = cast<RankedTensorType>(value.getType());
  bool ofOutputs = r1::countsOutputs(value);
  Rows rows{buffer.getLogits() ? p.logits : p.at(p.arena, buffer.getOffset()),
            p.i64(buffer.getStride()),
            type.getElementType(),
            ofOutputs ? p.outputCount : p.rowCount,
            type.getDimSize(1),
            buffer.getLogits()};
  if (p.skippedRows && !ofOutputs)
    rows.base = p.rowPtr(rows, p.skippedRows);
  return rows;
}

std::optional<Phase::Bytes> PhaseEmitter::firstWeights(r1::RegionOp region) {
  auto linears = region.getBody().getOps<r1::LinearOp>();
  if (linears.empty() || p.optLevel == 0)
    return std::nullopt;
  r1::LinearOp linear = *linears.begin();
  std::optional<WeightShare> share =
      getWeightShare(region, linear, linear.getWeightAttr());
  if (!share)
    return std::nullopt;
  auto [first, last] = p.share(p.i64(share->getUnits()));
  Value weight =
      p.weightPtr(linear, linear.getWeightAttr(), linear.getLayer());
  // A part of the second cache: what is asked for must not push itself out.
  Value most = p.i64(p.target.getL2() / 4);
  return Phase::Bytes{
      p.at(weight, p.mul(first, share->unitBytes)),
      p.min(p.mul(p.sub(last, first), share->unitBytes), most)};
}

LogicalResult PhaseEmitter::placeInputs() {
  for (BlockArgument input : function.getArguments().drop_front(r1::kStepInputs)) {
    auto buffer = function.getArgAttrOfType<r1::BufferAttr>(
        input.getArgNumber(), r1::kBufferAttr);
    if (!buffer || !isa<RankedTensorType>(input.getType()))
      return function.emitOpError("takes argument ")
             << input.getArgNumber() << " from nowhere; expected rows with "
             << r1::kBufferAttr;
    p.setRows(input, place(input, buffer));
  }
  return success();
}

LogicalResult PhaseEmitter::emitRegion(r1::RegionOp region) {
  if (!region.getPartition() ||
      (region.getNumResults() && !region.getBuffers()))
    return region.emitOpError("needs a partition and buffers before code can "
                              "be made");
  if (startsLayer || needsBarrier(region))
    wait(region);
  startsLayer = false;
  sinceBarrier.push_back(region);

  Operation *yield = region.getBody().front().getTerminator();
  for (auto [i, result] : llvm::enumerate(region.getResults())) {
    Rows rows = place(result, cast<r1::BufferAttr>((*region.getBuffers())[i]));
    p.setRows(result, rows);
    p.setRows(yield->getOperand(i), rows);
  }
  for (auto product : region.getBody().getOps<r1::ProductInterface>())
    if (failed(emitInputSquares(p, product)))
      return failure();
  int64_t index = firstRegion + regions.size();
  regions.push_back(region);
  if (!p.profile)
    return emitKernel(region);
  Value begin = emitRegionBegin(p);
  LogicalResult result = emitKernel(region);
  emitRegionEnd(p, p.profile, begin, index, layer);
  return result;
}

LogicalResult PhaseEmitter::emitKernel(r1::RegionOp region) {
  Block &body = region.getBody().front();
  for (Operation &op : body.without_terminator()) {
    if (auto linear = dyn_cast<r1::LinearOp>(op)) {
      r1::EncodingAttr encoding = r1::getEncoding(
          r1::lookupWeightType(linear, linear.getWeightAttr()));
      Type element = cast<RankedTensorType>(linear.getInput().getType())
                         .getElementType();
      if (!encoding)
        return linear.emitOpError() << linear.getWeightAttr()
                                    << " is not encoded";
      bool alone = llvm::hasSingleElement(body.without_terminator());
      if (encoding.getPanel() == 1 && alone) {
        emitPlainLinear(p, region, linear);
        return success();
      }
      if (failed(DotPrimitive::get(encoding, element, p.target)))
        return linear.emitOpError("no kernel multiplies ")
               << encoding << " with " << element << " activations";
      emitPackedLinear(p, region, linear);
      return success();
    }
    if (auto attention = dyn_cast<r1::AttentionOp>(op)) {
      if (p.optLevel == 0)
        emitPlainAttention(p, region, attention);
      else if (p.attr.getKind() == r1::PhaseKind::Prefill)
        emitPrefillAttention(p, region, attention);
      else
        emitDecodeAttention(p, region, attention);
      return success();
    }
    if (auto product = dyn_cast<r1::ProductInterface>(op))
      return emitProduct(product);
    if (!isRowOp(&op))
      return op.emitOpError("has no kernel");
  }
  emitTokenRegion(p, region);
  return success();
}

/// An op on several matrices that is alone in its region.
LogicalResult PhaseEmitter::emitProduct(r1::ProductInterface product) {
  SmallVector<FlatSymbolRefAttr> matrices;
  product.getMatrices(matrices);
  bool packed = true;
  OpOperand *rows = product.getRoundableRows();
  Type element = rows ? getElementTypeOrSelf(rows->get().getType())
                      : Type(p.f32Type());
  for (FlatSymbolRefAttr matrix : matrices) {
    RankedTensorType type = r1::lookupWeightType(product, matrix);
    r1::EncodingAttr encoding = r1::getEncoding(type);
    if (!encoding)
      return product->emitOpError() << matrix << " is not encoded";
    packed &= succeeded(DotPrimitive::get(encoding, element, p.target)) &&
              type.getDimSize(0) / product.getMatrixParts() %
                      encoding.getPanel() ==
                  0;
  }
  if (!packed && !element.isF32())
    return product->emitOpError("no kernel takes ") << element << " rows";
  if (auto op = dyn_cast<r1::ExpertsUpOp>(product.getOperation())) {
    if (packed && op.getBlock() == DotPrimitive::kPanel)
      emitPackedExpertsUp(p, op);
    else if (op.getUp() && element.isF32())
      emitPlainExpertsUp(p, op);
    else
      return op.emitOpError("no kernel takes gate and up in blocks like these");
  } else if (auto op = dyn_cast<r1::ExpertsDownOp>(product.getOperation())) {
    // Whole panels are read and written.
    if (packed && !p.rows(op.getResult()).exact)
      emitPackedExpertsDown(p, op);
    else if (element.isF32())
      emitPlainExpertsDown(p, op);
    else
      return op.emitOpError("no kernel returns its result");
  } else {
    auto attention = cast<r1::LatentAttentionOp>(product.getOperation());
    if (!packed)
      emitPlainLatentAttention(p, attention);
    else if (attention.getForm() == r1::LatentForm::Absorbed)
      emitAbsorbedAttention(p, attention);
    else
      emitExpandedAttention(p, attention);
  }
  return success();
}

/// Whether behind the last attention of `layers` only rows with outputs count.
bool PhaseEmitter::endsWithOutputs(r1::LayersOp layers) {
  if (p.attr.getKind() != r1::PhaseKind::Prefill || p.optLevel == 0)
    return false;
  // A draft head reads the states of all rows, and so does who observes them.
  auto module = function->getParentOfType<ModuleOp>();
  auto isObserved = [](Operation *op) {
    return op->hasAttr(r1::kObservedAttr) ? WalkResult::interrupt()
                                          : WalkResult::advance();
  };
  return !module.lookupSymbol(r1::kDraftPrefill) &&
         !function.walk(isObserved).wasInterrupted() &&
         llvm::all_of(layers.getResult().getUsers(), [](Operation *user) {
           return isa<r1::SelectRowsOp>(user);
         });
}

/// The first row that has an output; behind the last if none has.
Value PhaseEmitter::firstOutput() {
  Value outputs = function.getArgument(kOutputs);
  return p.loop(p.i64(0), p.outputCount, 1, {p.rowCount},
                [&](Value i, ValueRange first) -> SmallVector<Value> {
                  return {p.min(p.index(outputs, i), first[0])};
                })[0];
}

LogicalResult PhaseEmitter::emitLayers(r1::LayersOp layers) {
  Value outputs;
  if (endsWithOutputs(layers))
    for (auto region : layers.getBody().getOps<r1::RegionOp>())
      for (Operation &op : region.getBody().front())
        if (isa<r1::AttentionOp, r1::LatentAttentionOp>(op))
          lastOfAllRows = region;
  if (lastOfAllRows)
    outputs = firstOutput();
  // All four stand for the residual stream, which stays in one buffer.
  Rows stream = p.rows(layers.getInput());
  p.setRows(layers.getStream(), stream);
  p.setRows(layers.getResult(), stream);
  LogicalResult result = success();
  p.loop(p.i64(0), p.i64(layers.getCount()), 1, [&](Value index) {
    p.scalars[layers.getLayer()] = index;
    layer = p.add(index, layers.getFirst());
    startsLayer = true;
    if (lastOfAllRows)
      firstRow = arith::SelectOp::create(
          p.b, p.loc, p.equal(index, p.i64(layers.getCount() - 1)), outputs,
          p.i64(0));
    result = emit(layers.getBody().front());
  });
  layer = nullptr;
  lastOfAllRows = nullptr;
  startsLayer = true;
  return result;
}

LogicalResult PhaseEmitter::emit(Block &block) {
  std::optional<Phase::RowState> allRows;
  for (Operation &op : block) {
    if (auto region = dyn_cast<r1::RegionOp>(op)) {
      if (failed(emitRegion(region)))
        return failure();
      if (region == lastOfAllRows)
        allRows = p.skipRows(firstRow);
    } else if (auto layers = dyn_cast<r1::LayersOp>(op)) {
      if (failed(emitLayers(layers)))
        return failure();
    } else if (!op.hasTrait<OpTrait::IsTerminator>()) {
      return op.emitOpError("is in no region");
    }
  }
  if (allRows)
    p.restoreRows(std::move(*allRows));
  return success();
}

static FailureOr<EmittedPhase> emitPhase(func::FuncOp function,
                                         r1::PhaseAttr attr,
                                         r1::TargetAttr target,
                                         OpBuilder &builder, int64_t optLevel,
                                         bool profile, int64_t firstRegion) {
  Location loc = function.getLoc();
  auto arenaAttr = function->getAttrOfType<IntegerAttr>(r1::kArenaBytesAttr);
  if (!arenaAttr)
    return function.emitOpError("has no memory plan");
  if (function.getNumArguments() < r1::kStepInputs)
    return function.emitOpError("must take tokens, slots, positions, outputs "
                                "and the cache");
  Phase phase(builder, loc, attr, target, arenaAttr.getInt(), optLevel);
  std::string symbol = ("sputnik_" + function.getName()).str();
  auto type = builder.getFunctionType(
      {phase.ptrType(), phase.i64Type(), phase.i64Type()}, {});
  auto code = func::FuncOp::create(builder, loc, symbol, type);
  OpBuilder::InsertionGuard guard(builder);
  Block *entry = code.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  Value step = entry->getArgument(0);
  phase.begin(step, entry->getArgument(1), entry->getArgument(2));
  // These sizes are known once everything is emitted: nothing may fold them.
  auto sharedBytes = arith::ConstantIntOp::create(builder, loc, 0, 64);
  auto scratchBytes = arith::ConstantIntOp::create(builder, loc, 0, 64);
  int64_t arenaBytes = llvm::alignTo(arenaAttr.getInt(), 64);
  phase.shared = phase.at(phase.arena, arenaBytes);
  Value ownScratch =
      arith::MulIOp::create(builder, loc, phase.thread, scratchBytes);
  phase.scratch = phase.at(phase.at(phase.shared, sharedBytes), ownScratch);
  size_t offsets[] = {offsetof(abi::Step, tokens), offsetof(abi::Step, slots),
                      offsetof(abi::Step, positions),
                      offsetof(abi::Step, outputs)};
  for (auto [i, offset] : llvm::enumerate(offsets))
    phase.setRows(
        function.getArgument(i),
        {phase.load(phase.ptrType(), phase.at(step, offset), 8), phase.i64(4),
         builder.getI32Type(),
         i == kOutputs ? phase.outputCount : phase.rowCount, 1});
  if (profile)
    phase.profile = emitThreadProfile(phase, step);
  PhaseEmitter emitter(phase, function, firstRegion);
  if (failed(emitter.placeInputs()) ||
      failed(emitter.emit(function.front())))
    return failure();
  func::ReturnOp::create(builder, loc);
  sharedBytes.setValueAttr(builder.getI64IntegerAttr(phase.getSharedBytes()));
  scratchBytes.setValueAttr(
      builder.getI64IntegerAttr(phase.getScratchBytes()));
  return EmittedPhase{function.getName().str(),
                      symbol,
                      attr.getMaxRows(),
                      arenaBytes + phase.getSharedBytes(),
                      phase.getScratchBytes(),
                      std::move(emitter.regions)};
}

FailureOr<SmallVector<EmittedPhase>>
sputnik::cpu::emitPhases(ModuleOp module, ModuleOp code, int64_t optLevel,
                         bool profile) {
  auto target = module->getAttrOfType<r1::TargetAttr>(r1::kTargetAttr);
  if (!target)
    return module.emitOpError("has no r1.target");
  OpBuilder builder = OpBuilder::atBlockEnd(code.getBody());
  emitBarrier(builder, code.getLoc());
  if (profile)
    emitRegionTimes(builder, code.getLoc());
  int64_t regions = 0;
  SmallVector<EmittedPhase> phases;
  for (auto function : module.getOps<func::FuncOp>()) {
    auto attr = function->getAttrOfType<r1::PhaseAttr>(r1::kPhaseAttr);
    if (!attr)
      continue;
    FailureOr<EmittedPhase> phase =
        emitPhase(function, attr, target, builder, optLevel, profile, regions);
    if (failed(phase))
      return failure();
    regions += phase->regions.size();
    phases.push_back(*phase);
  }
  return phases;
}
