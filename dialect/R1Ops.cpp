//===- R1Ops.cpp - Structure and graph operations -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "dialect/R1.h"
#include "dialect/WeightUse.h"

#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik::r1;

/// Frequencies with all their digits, where the printer of arrays rounds.
static ParseResult parseFrequencies(OpAsmParser &parser,
                                    DenseF64ArrayAttr &frequencies) {
  SmallVector<double> values;
  if (parser.parseCommaSeparatedList(
          AsmParser::Delimiter::Square,
          [&] { return parser.parseFloat(values.emplace_back()); },
          " in frequencies"))
    return failure();
  frequencies = parser.getBuilder().getDenseF64ArrayAttr(values);
  return success();
}

static void printFrequencies(OpAsmPrinter &printer, Operation *,
                             DenseF64ArrayAttr frequencies) {
  printer << '[';
  llvm::interleaveComma(frequencies.asArrayRef(), printer, [&](double value) {
    printer.printFloat(llvm::APFloat(value));
  });
  printer << ']';
}

#define GET_OP_CLASSES
#include "dialect/R1Ops.cpp.inc"

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

LogicalResult LayersOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != 2 ||
      !block.getArgument(0).getType().isIndex() ||
      block.getArgument(1).getType() != getInput().getType())
    return emitOpError("body must take the layer and the residual stream");
  return success();
}

LogicalResult LayersOp::verifyRegions() {
  auto yield = dyn_cast<YieldOp>(getBody().front().getTerminator());
  if (!yield || yield.getNumOperands() != 1 ||
      yield.getOperandTypes().front() != getType())
    return emitOpError("body must yield the residual stream");
  return success();
}

LogicalResult RegionOp::verify() {
  if (getBuffers() && getBuffers()->size() != getNumResults())
    return emitOpError("has ") << getBuffers()->size() << " buffers for "
                               << getNumResults() << " results";
  return success();
}

LogicalResult RegionOp::verifyRegions() {
  auto yield = dyn_cast<YieldOp>(getBody().front().getTerminator());
  if (!yield || yield.getOperandTypes() != getResultTypes())
    return emitOpError("body must yield the results");
  return success();
}

bool sputnik::r1::countsOutputs(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto function =
        dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp());
    return function &&
           function.getArgAttr(argument.getArgNumber(), kOutputRowsAttr);
  }
  Operation *op = value.getDefiningOp();
  if (auto region = dyn_cast<RegionOp>(op)) {
    unsigned index = cast<OpResult>(value).getResultNumber();
    return countsOutputs(
        region.getBody().front().getTerminator()->getOperand(index));
  }
  if (!isa<RankedTensorType>(value.getType()) || isa<LayersOp>(op))
    return false;
  return isa<SelectRowsOp>(op) || countsOutputs(op->getOperand(0));
}

Value sputnik::r1::getStreamOrigin(Value value) {
  while (true) {
    auto layers = value.getDefiningOp<LayersOp>();
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      layers = dyn_cast<LayersOp>(argument.getOwner()->getParentOp());
      if (layers && argument != layers.getStream())
        return value;
    }
    if (!layers)
      return value;
    value = layers.getInput();
  }
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

Locality EmbedOp::getLocality() { return Locality::Anchor; }
void EmbedOp::getWeights(SmallVectorImpl<FlatSymbolRefAttr> &weights) {
  weights.push_back(getWeightAttr());
}
Value EmbedOp::getLayerIndex() { return nullptr; }
LogicalResult EmbedOp::verifySymbolUses(SymbolTableCollection &symbols) {
  RankedTensorType type = lookupWeightType(*this, getWeightAttr());
  if (!type || type.getRank() != 2)
    return emitOpError() << getWeightAttr() << " is not a matrix";
  return verifyWeight(*this, symbols, getWeightAttr(), nullptr,
                      {type.getDimSize(0), features(getResult())});
}

Locality RMSNormOp::getLocality() {
  return getHeadDimAttr() ? Locality::HeadWise : Locality::RowWise;
}
int64_t RMSNormOp::getHeadSize() { return getHeadDim().value_or(0); }
void RMSNormOp::getWeights(SmallVectorImpl<FlatSymbolRefAttr> &weights) {
  if (getWeightAttr())
    weights.push_back(getWeightAttr());
}
Value RMSNormOp::getLayerIndex() { return getLayer(); }
LogicalResult RMSNormOp::verify() {
  if (!(getEps().convertToFloat() >= 0))
    return emitOpError("needs eps of at least 0");
  if (int64_t dim = getHeadSize(); dim && features(getInput()) % dim)
    return emitOpError("needs whole heads, found ")
           << features(getInput()) << " features in heads of " << dim;
  return success();
}
LogicalResult RMSNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!getWeightAttr())
    return success();
  int64_t size = getHeadDim() ? getHeadSize() : features(getInput());
  return verifyWeight(*this, symbols, getWeightAttr(), getLayer(), {size});
}

Locality LinearOp::getLocality() { return Locality::Anchor; }
void LinearOp::getWeights(SmallVectorImpl<FlatSymbolRefAttr> &weights) {
  weights.push_back(getWeightAttr());
  if (getBiasAttr())
    weights.push_back(getBiasAttr());
}
Value LinearOp::getLayerIndex() { return getLayer(); }
LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t n = features(getResult()), k = features(getInput());
  if (failed(verifyWeight(*this, symbols, getWeightAttr(), getLayer(), {n, k},
                          /*parts=*/1)))
    return failure();
  if (!getBiasAttr())
    return success();
  return verifyWeight(*this, symbols, getBiasAttr(), getLayer(), {n},
                      /*parts=*/1);
}
void LinearOp::getMatrices(SmallVectorImpl<FlatSymbolRefAttr> &matrices) {
  matrices.push_back(getWeightAttr());
}
OpOperand *LinearOp::getRoundableRows() {
  return getPrecise() ? nullptr : &getInputMutable();
}
int64_t LinearOp::getInnerFeatures() { return features(getInput()); }

Locality SplitOp::getLocality() { return Locality::View; }
LogicalResult SplitOp::verify() {
  int64_t sum = 0;
  for (Value result : getResults())
    sum += getBlock() ? llvm::alignTo(features(result), *getBlock())
                      : features(result);
  if (sum != features(getInput()))
    return emitOpError("gives ")
           << sum << " features of " << features(getInput());
  if (getBlock() && !llvm::all_equal(getResultTypes()))
    return emitOpError("with a block needs results of one type");
  return success();
}

LogicalResult SplitOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &parts) {
  if (getNumResults() != 1 || getResultTypes().front() != getInput().getType())
    return failure();
  parts.push_back(getInput());
  return success();
}

Locality RopeTableOp::getLocality() { return Locality::Anchor; }
LogicalResult RopeTableOp::verify() {
  if (2 * static_cast<int64_t>(getFrequencies().size()) !=
      features(getResult()))
    return emitOpError("gives ")
           << features(getResult()) << " features for "
           << getFrequencies().size() << " frequencies, expected twice as many";
  return success();
}

Locality RopeOp::getLocality() { return Locality::HeadWise; }
int64_t RopeOp::getHeadSize() { return getHeadDim(); }
LogicalResult RopeOp::verify() {
  int64_t dim = getHeadDim();
  if (dim % 2 || features(getInput()) % dim || features(getTable()) != dim)
    return emitOpError("needs whole heads of an even size and a table of that "
                       "size, found ")
           << features(getInput()) << " features, heads of " << dim
           << ", a table of " << features(getTable());
  return success();
}

Locality KVAppendOp::getLocality() { return Locality::Sink; }
int64_t KVAppendOp::getHeadSize() { return getCache().getType().getDim(); }
LogicalResult KVAppendOp::verify() {
  if (getCache().getType().getLatent())
    return emitOpError("needs a cache of keys and values, found ")
           << getCache().getType();
  if (!getKeys() && !getValues())
    return emitOpError("needs keys or values");
  int64_t expected =
      getCache().getType().getHeads() * getCache().getType().getDim();
  for (Value rows : {getKeys(), getValues()})
    if (rows && features(rows) != expected)
      return emitOpError("needs ")
             << expected << " features, found " << features(rows);
  return success();
}

Locality AttentionOp::getLocality() { return Locality::Anchor; }
LogicalResult AttentionOp::verify() {
  KVCacheType cache = getCache().getType();
  if (cache.getLatent())
    return emitOpError("needs a cache of keys and values, found ") << cache;
  int64_t group = cache.getHeads() * cache.getDim();
  if (features(getQuery()) % group)
    return emitOpError("needs a multiple of ")
           << group << " features, found " << features(getQuery());
  return success();
}

Locality SwiGLUOp::getLocality() { return Locality::Elementwise; }
Locality AddOp::getLocality() { return Locality::Elementwise; }
Locality CastOp::getLocality() {
  // Blocks of features share a scale.
  bool blocks = getType().getElementType().isInteger(8);
  return blocks ? Locality::RowWise : Locality::Elementwise;
}
LogicalResult CastOp::verify() {
  if (features(getInput()) != features(getResult()))
    return emitOpError("changes the shape");
  return success();
}
OpFoldResult CastOp::fold(FoldAdaptor) {
  return getInput().getType() == getType() ? getInput() : Value();
}
Locality SelectRowsOp::getLocality() { return Locality::Anchor; }
