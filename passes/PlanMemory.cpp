//===- PlanMemory.cpp - Region results in the arena -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two steps. First values are gathered into buffers: a value that takes over
// the buffer of another, and all forms of a residual stream, share one. Then
// buffers, each alive from its first definition to its last use, are placed so
// that no two overlap in time and in space.
//
// Time counts regions and the ends of loops, in program order. What a loop
// reads from outside lives to its end, because the next turn reads it again.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

namespace sputnik::r1 {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

namespace {

constexpr int64_t kAlignment = 64;

struct Buffer {
  int64_t stride; ///< Bytes from row to row.
  int64_t bytes;
  int64_t first, last; ///< Alive in [first, last].
  bool logits = false;
  bool state = false; ///< At offset 0, from the first to the last region.
  int64_t offset = 0;
};

/// The stream of the loop whose body is being planned.
struct Stream {
  unsigned buffer;
  Value yielded;
  Value holder; ///< The value that lies in the buffer at this point.
};

class Planner {
public:
  Planner(func::FuncOp function, int64_t maxRows)
      : function(function), maxRows(maxRows) {}

  LogicalResult gather() {
    number(function.front());
    end = time;
    Operation *terminator = function.front().getTerminator();
    for (Value value : terminator->getOperands())
      if (!isa_and_present<RegionOp>(value.getDefiningOp()))
        return terminator->emitError(
            "returns a value that is not the result of a region: nothing "
            "would write the logits");
    if (terminator->getNumOperands() > 0)
      logits = terminator->getOperand(0);
    if (terminator->getNumOperands() > 1)
      state = terminator->getOperand(1);
    if (terminator->getNumOperands() > 2 || (state && state == logits))
      return terminator->emitError("returns more than logits and a state");
    for (BlockArgument given :
         function.getArguments().drop_front(
             std::min(kStepInputs, function.getNumArguments())))
      if (!state || given.getType() != state.getType() ||
          given.getArgNumber() > kStepInputs)
        return function.emitError("takes argument ")
               << given.getArgNumber() << ", expected no more than a state of "
               << "the type of the one that it returns";
    return gather(function.front(), nullptr);
  }

  /// Places all buffers; the arena has `getArenaBytes` then.
  void place();
  void annotate();

  int64_t getArenaBytes() const { return arenaBytes; }
  int64_t getResultBytes() const { return resultBytes; }
  int64_t getInPlaceCount() const { return inPlaceCount; }

private:
  static RankedTensorType typeOf(Value value) {
    return cast<RankedTensorType>(value.getType());
  }

  void number(Block &block) {
    for (Operation &op : block) {
      if (isa<RegionOp>(op))
        begins[&op] = ends[&op] = time++;
      if (auto layers = dyn_cast<LayersOp>(op)) {
        begins[&op] = time++;
        number(layers.getBody().front());
        ends[&op] = time++;
      }
    }
  }

  int64_t lastUse(Value value);
  bool isElementwiseInto(Value operand, RegionOp region, OpResult result);
  LogicalResult gather(Block &block, Stream *stream);
  LogicalResult gatherRegion(RegionOp region, Stream *stream);
  LogicalResult gatherLayers(LayersOp layers, Stream *stream);
  LogicalResult checkStreamIsFree(RegionOp region, OpResult result,
                                  const Stream &stream);
  Value chooseTakeover(RegionOp region, OpResult result, const Stream *stream,
                       const DenseSet<Value> &taken);
  FailureOr<Buffer> makeBuffer(RegionOp region, OpResult result);

  func::FuncOp function;
  int64_t maxRows;
  int64_t time = 0, end = 0;
  DenseMap<Operation *, int64_t> begins, ends;
  Value logits, state;
  SmallVector<Buffer> buffers;
  llvm::MapVector<Value, unsigned> bufferOf;
  int64_t arenaBytes = 0, resultBytes = 0, inPlaceCount = 0;
};
} // namespace

/// The time until which `value` must stay as it is.
int64_t Planner::lastUse(Value value) {
  Block *block = value.getParentBlock();
  int64_t last = value.getDefiningOp() ? ends.lookup(value.getDefiningOp())
                                       : begins.lookup(block->getParentOp());
  for (Operation *user : value.getUsers()) {
    Operation *ancestor = block->findAncestorOpInBlock(*user);
    if (ancestor->hasTrait<OpTrait::IsTerminator>())
      last = std::max(last, isa<LayersOp>(block->getParentOp())
                                ? ends.lookup(block->getParentOp())
                                : end);
    else
      last = std::max(last, ends.lookup(ancestor));
  }
  return last;
}

/// Whether feature i of a row of `result` is the only thing in `region` that
/// depends on feature i of the same row of `operand`, which nothing else reads.
bool Planner::isElementwiseInto(Value operand, RegionOp region,
                                OpResult result) {
  RankedTensorType type = typeOf(operand);
  if (type.getShape() != typeOf(result).getShape() ||
      type.getElementType().getIntOrFloatBitWidth() !=
          typeOf(result).getElementType().getIntOrFloatBitWidth())
    return false;
  Value yielded = region.getBody().front().getTerminator()->getOperand(
      result.getResultNumber());
  SmallVector<Value> worklist = {operand};
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (value == yielded)
      continue;
    for (Operation *user : value.getUsers()) {
      if (!region->isProperAncestor(user))
        continue;
      auto graphOp = dyn_cast<GraphOpInterface>(user);
      if (!graphOp || graphOp.getLocality() != Locality::Elementwise ||
          typeOf(user->getResult(0)).getShape() != type.getShape())
        return false;
      worklist.push_back(user->getResult(0));
    }
  }
  return true;
}

LogicalResult Planner::gather(Block &block, Stream *stream) {
  for (Operation &op : block) {
    if (auto region = dyn_cast<RegionOp>(op)) {
      if (failed(gatherRegion(region, stream)))
        return failure();
    } else if (auto layers = dyn_cast<LayersOp>(op)) {
      if (failed(gatherLayers(layers, stream)))
        return failure();
    } else if (!op.hasTrait<OpTrait::IsTerminator>()) {
      return op.emitOpError("is in no region; r1-form-regions makes them");
    }
  }
  return success();
}

LogicalResult Planner::checkStreamIsFree(RegionOp region, OpResult result,
                                         const Stream &stream) {
  int64_t now = begins.lookup(region), last = lastUse(stream.holder);
  if (last < now ||
      (last == now && isElementwiseInto(stream.holder, region, result)))
    return success();
  InFlightDiagnostic diagnostic = region.emitError(
      "the stream that this layer yields cannot take the place of the one it "
      "was given, which is still needed");
  diagnostic.attachNote(stream.holder.getLoc()) << "given here";
  return diagnostic;
}

/// An operand whose buffer `result` may take over, or null.
Value Planner::chooseTakeover(RegionOp region, OpResult result,
                              const Stream *stream,
                              const DenseSet<Value> &taken) {
  int64_t now = begins.lookup(region);
  for (Operation &op : region.getBody().front())
    for (Value operand : op.getOperands()) {
      auto it = bufferOf.find(operand);
      if (it == bufferOf.end() || taken.contains(operand) ||
          buffers[it->second].logits || lastUse(operand) != now ||
          operand.getParentBlock() != region->getBlock() ||
          !isElementwiseInto(operand, region, result))
        continue;
      if (stream && it->second == stream->buffer) {
        // The yielded stream must find its buffer free.
        auto last = stream->yielded.getDefiningOp<RegionOp>();
        if (!last || begins.lookup(last) <= now)
          continue;
        int64_t needed = lastUse(result), yields = begins.lookup(last);
        if (needed > yields ||
            (needed == yields &&
             !isElementwiseInto(result, last, cast<OpResult>(stream->yielded))))
          continue;
      }
      return operand;
    }
  return nullptr;
}

FailureOr<Buffer> Planner::makeBuffer(RegionOp region, OpResult result) {
  RankedTensorType type = typeOf(result);
  if (type.getRank() != 2 || type.isDynamicDim(1) ||
      !type.getElementType().isIntOrFloat())
    return region.emitError("result ")
           << result.getResultNumber() << " is " << type
           << ", expected rows of a known number of features";
  // Counted in bits, features alone must fit: then bytes with scales do.
  int64_t bits, row = 0, bytes;
  bool fits = !llvm::MulOverflow<int64_t>(
      type.getDimSize(1), type.getElementTypeBitWidth(), bits);
  if (fits)
    row = getRowBytes(type);
  int64_t stride = llvm::alignTo(row, kAlignment);
  if (!fits || llvm::MulOverflow(stride, maxRows, bytes))
    return region.emitError("result ")
           << result.getResultNumber() << " is too large: " << maxRows
           << " rows of " << type;
  Buffer buffer = {stride, bytes, begins.lookup(region), lastUse(result)};
  if (result == logits) {
    buffer.stride = row;
    buffer.logits = true;
  }
  if (result == state) {
    buffer.first = 0;
    buffer.last = end;
    buffer.state = true;
  }
  return buffer;
}

LogicalResult Planner::gatherRegion(RegionOp region, Stream *stream) {
  DenseSet<Value> taken;
  for (OpResult result : region.getResults()) {
    FailureOr<Buffer> buffer = makeBuffer(region, result);
    if (failed(buffer))
      return failure();
    if (!buffer->logits)
      resultBytes += buffer->bytes;
    if (stream && result == stream->yielded) {
      if (failed(checkStreamIsFree(region, result, *stream)))
        return failure();
      inPlaceCount += lastUse(stream->holder) == begins.lookup(region);
      bufferOf[result] = stream->buffer;
      stream->holder = result;
      continue;
    }
    Value operand = buffer->logits || buffer->state
                        ? Value()
                        : chooseTakeover(region, result, stream, taken);
    if (!operand) {
      bufferOf[result] = buffers.size();
      buffers.push_back(*buffer);
      continue;
    }
    taken.insert(operand);
    unsigned index = bufferOf.lookup(operand);
    bufferOf[result] = index;
    buffers[index].last = std::max(buffers[index].last, buffer->last);
    if (stream && index == stream->buffer)
      stream->holder = result;
    ++inPlaceCount;
  }
  return success();
}

LogicalResult Planner::gatherLayers(LayersOp layers, Stream *stream) {
  Value input = layers.getInput();
  auto it = bufferOf.find(input);
  if (it == bufferOf.end() || buffers[it->second].logits)
    return layers.emitError(
        "takes a stream that is not the result of a region");
  if (input.getParentBlock() != layers->getBlock())
    return layers.emitError("takes a stream from outside the loop it is in");
  for (Operation *user : input.getUsers()) {
    Operation *ancestor = layers->getBlock()->findAncestorOpInBlock(*user);
    if (user == layers || ancestor->isBeforeInBlock(layers))
      continue;
    InFlightDiagnostic diagnostic = layers.emitError(
        "overwrites its operand, which is used after the loop has started");
    diagnostic.attachNote(user->getLoc()) << "used here";
    return diagnostic;
  }

  unsigned index = it->second;
  bufferOf[layers.getStream()] = index;
  bufferOf[layers.getResult()] = index;
  Value yielded = layers.getBody().front().getTerminator()->getOperand(0);
  Stream inner = {index, yielded, layers.getStream()};
  if (failed(gather(layers.getBody().front(), &inner)))
    return failure();
  if (inner.holder != yielded)
    return layers.emitError("yields a value that is not computed in the loop");
  buffers[index].last = std::max(
      {buffers[index].last, ends.lookup(layers), lastUse(layers.getResult())});
  if (stream && index == stream->buffer)
    stream->holder = layers.getResult();
  return success();
}

void Planner::place() {
  SmallVector<Buffer *> order;
  for (Buffer &buffer : buffers)
    if (!buffer.logits)
      order.push_back(&buffer);
  // Equal sizes in the order of definition, which is that of `buffers`. The
  // state comes first, and so to offset 0.
  llvm::sort(order, [](const Buffer *a, const Buffer *b) {
    if (a->state != b->state)
      return a->state;
    return a->bytes != b->bytes ? a->bytes > b->bytes : a < b;
  });
  SmallVector<Buffer *> placed;
  for (Buffer *buffer : order) {
    // `placed` is sorted by offset: gaps are met in order.
    int64_t top = 0, best = -1, bestSize = 0;
    for (const Buffer *other : placed) {
      if (other->last < buffer->first || buffer->last < other->first)
        continue;
      int64_t gap = other->offset - top;
      if (gap >= buffer->bytes && (best < 0 || gap < bestSize)) {
        best = top;
        bestSize = gap;
      }
      top = std::max(top, other->offset + other->bytes);
    }
    buffer->offset = best < 0 ? top : best;
    arenaBytes = std::max(arenaBytes, buffer->offset + buffer->bytes);
    placed.insert(llvm::upper_bound(placed, buffer,
                                    [](const Buffer *a, const Buffer *b) {
                                      return a->offset < b->offset;
                                    }),
                  buffer);
  }
}

void Planner::annotate() {
  MLIRContext *context = function.getContext();
  function.walk([&](RegionOp region) {
    SmallVector<Attribute> attrs;
    for (Value result : region.getResults()) {
      const Buffer &buffer = buffers[bufferOf.lookup(result)];
      attrs.push_back(BufferAttr::get(context, buffer.offset, buffer.stride,
                                      buffer.logits));
    }
    region.setBuffersAttr(ArrayAttr::get(context, attrs));
  });
  if (function.getNumArguments() > kStepInputs)
    function.setArgAttr(
        kStepInputs, kBufferAttr,
        BufferAttr::get(context, 0, buffers[bufferOf.lookup(state)].stride,
                        /*logits=*/false));
  function->setAttr(
      kArenaBytesAttr,
      IntegerAttr::get(IntegerType::get(context, 64), arenaBytes));
}

namespace {
struct PlanMemory final : r1::impl::PlanMemoryPassBase<PlanMemory> {
  using Base::Base;

  LogicalResult plan(func::FuncOp function) {
    auto phase = function->getAttrOfType<PhaseAttr>(kPhaseAttr);
    if (!phase)
      return function.emitError(
          "has no r1.phase, which says how many rows a call carries; "
          "r1-specialize-phases gives it one");
    Planner planner(function, phase.getMaxRows());
    if (failed(planner.gather()))
      return failure();
    planner.place();
    planner.annotate();
    arenaBytes += planner.getArenaBytes();
    resultBytes += planner.getResultBytes();
    numInPlace += planner.getInPlaceCount();
    remark::analysis(function.getLoc(),
                     remark::RemarkOpts::name("Arena").category(getArgument()))
        << remark::add("@{0} has an arena of {1} bytes, {2} without reuse; "
                       "{3} results are in place",
                       function.getName(), planner.getArenaBytes(),
                       planner.getResultBytes(), planner.getInPlaceCount());
    return success();
  }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && failed(plan(function)))
        return signalPassFailure();
  }
};
} // namespace
