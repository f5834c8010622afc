//===- R1WeightOps.cpp - Weights and weight programs ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "dialect/R1.h"
#include "dialect/WeightUse.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik::r1;

EncodingAttr sputnik::r1::getEncoding(Type weightType) {
  auto type = dyn_cast<RankedTensorType>(weightType);
  return type ? dyn_cast_if_present<EncodingAttr>(type.getEncoding()) : nullptr;
}

RankedTensorType sputnik::r1::lookupWeightType(Operation *from,
                                               FlatSymbolRefAttr name) {
  Operation *op = SymbolTable::lookupNearestSymbolFrom(from, name);
  if (auto weight = dyn_cast_or_null<WeightOp>(op))
    return cast<RankedTensorType>(weight.getType());
  if (auto derived = dyn_cast_or_null<DerivedOp>(op))
    return cast<RankedTensorType>(derived.getType());
  return nullptr;
}

int64_t sputnik::r1::getWeightLayers(Operation *op) {
  if (auto weight = dyn_cast<WeightOp>(op))
    return weight.getLayers().value_or(1);
  return cast<DerivedOp>(op).getLayers().value_or(1);
}

int64_t sputnik::r1::features(Value rows) {
  return cast<RankedTensorType>(rows.getType()).getDimSize(1);
}

LogicalResult sputnik::r1::verifyWeight(Operation *op,
                                        SymbolTableCollection &symbols,
                                        FlatSymbolRefAttr name, Value layer,
                                        ArrayRef<int64_t> shape,
                                        int64_t parts) {
  Operation *weight = symbols.lookupNearestSymbolFrom(op, name);
  if (!isa_and_present<WeightOp, DerivedOp>(weight))
    return op->emitOpError() << name << " is not a weight";
  bool stacked = weight->hasAttr("layers");
  if (stacked != static_cast<bool>(layer))
    return op->emitOpError()
           << name
           << (stacked ? " is stacked: needs a layer" : " has no layers");
  RankedTensorType type = lookupWeightType(op, name);
  bool fits = type.getRank() == static_cast<int64_t>(shape.size()) &&
              type.getShape().drop_front() == shape.drop_front();
  if (fits && parts)
    fits = type.getDimSize(0) % parts == 0 &&
           type.getDimSize(0) / parts >= shape[0];
  else if (fits)
    fits = type.getDimSize(0) == shape[0];
  if (fits)
    return success();
  InFlightDiagnostic diagnostic =
      op->emitOpError() << name << " is " << type << ", expected shape ["
                        << shape << "]";
  if (parts > 1)
    diagnostic << " in each of " << parts << " parts";
  return diagnostic;
}

static LogicalResult verifyWeightShape(Operation *op, Type type) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() < 1 || tensor.getRank() > 2 || !tensor.hasStaticShape())
    return op->emitOpError("needs a static shape of rank 1 or 2, found ")
           << type;
  return success();
}

LogicalResult WeightOp::verify() {
  if (failed(verifyWeightShape(*this, getType())))
    return failure();
  if (cast<RankedTensorType>(getType()).getEncoding())
    return emitOpError("names a stored tensor, which has no encoding; "
                       "r1.derived makes one");
  int64_t origins = getOrigins().size(), layers = getWeightLayers(*this);
  if (origins == 0 || origins % layers)
    return emitOpError("has ") << origins << " origins for " << layers
                               << " layers";
  int64_t rows = cast<RankedTensorType>(getType()).getDimSize(0);
  if (rows % (origins / layers))
    return emitOpError("has ")
           << rows << " rows, which do not fall into " << origins / layers
           << " origins";
  return success();
}

LogicalResult DerivedOp::verify() {
  return verifyWeightShape(*this, getType());
}

LogicalResult DerivedOp::verifyRegions() {
  auto yield = dyn_cast<YieldOp>(getBody().front().getTerminator());
  if (!yield || yield.getNumOperands() != 1 ||
      yield.getOperandTypes().front() != getType())
    return emitOpError("body must yield one value of type ") << getType();
  return success();
}

LogicalResult ReadOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *op = symbols.lookupNearestSymbolFrom(*this, getWeightAttr());
  if (!isa_and_present<WeightOp, DerivedOp>(op))
    return emitOpError() << getWeightAttr() << " is not a weight";
  auto parent = (*this)->getParentOfType<DerivedOp>();
  if (op == parent)
    return emitOpError("reads the weight it defines");
  int64_t layers = getWeightLayers(op);
  if (layers != 1 && layers != getWeightLayers(parent))
    return emitOpError() << getWeightAttr() << " has " << layers
                         << " layers, the program " << getWeightLayers(parent);
  auto type =
      cast<RankedTensorType>(isa<WeightOp>(op) ? cast<WeightOp>(op).getType()
                                               : cast<DerivedOp>(op).getType());
  auto result = cast<RankedTensorType>(getType());
  if (type.getShape() != result.getShape() || result.getEncoding())
    return emitOpError() << "gives " << getType() << ", but " << getWeightAttr()
                         << " is " << type;
  return success();
}

LogicalResult ScaleColumnsOp::verify() {
  auto type = cast<RankedTensorType>(getValue().getType());
  auto gain = cast<RankedTensorType>(getGain().getType());
  if (type.getRank() != 2 || type.getDimSize(1) != gain.getDimSize(0))
    return emitOpError("needs one gain per column, found ")
           << gain << " for " << type;
  return success();
}

LogicalResult ConcatOp::verify() {
  if (getInputs().empty())
    return emitOpError("needs an operand");
  if (getPart() && !getBlock())
    return emitOpError("with a part needs a block");
  auto result = cast<RankedTensorType>(getType());
  int64_t rows = 0;
  for (Type type : getInputs().getTypes()) {
    auto input = cast<RankedTensorType>(type);
    if (input.getRank() != result.getRank() ||
        input.getShape().drop_front() != result.getShape().drop_front())
      return emitOpError("operand ")
             << input << " does not fit under result " << result;
    int64_t n = input.getDimSize(0);
    if (getBlock() && input != getInputs().front().getType())
      return emitOpError("with a block needs operands of one type");
    int64_t part = getPart().value_or(n);
    if (n % part)
      return emitOpError("has ") << n << " rows in parts of " << part;
    rows += getBlock() ? n / part * llvm::alignTo(part, *getBlock()) : n;
  }
  if (rows != result.getDimSize(0))
    return emitOpError("has ")
           << rows << " rows, but its result " << result.getDimSize(0);
  return success();
}

OpFoldResult ConcatOp::fold(FoldAdaptor) {
  bool same =
      getInputs().size() == 1 && getInputs().front().getType() == getType();
  return same ? getInputs().front() : Value();
}

LogicalResult UnpermuteOp::verify() {
  int64_t rows = cast<RankedTensorType>(getType()).getDimSize(0);
  int64_t dim = getHeadDim();
  if (dim % 2 || rows % dim)
    return emitOpError("needs whole heads of an even size, found ")
           << rows << " rows in heads of " << dim;
  return success();
}

LogicalResult SliceRowsOp::verify() {
  auto from = cast<RankedTensorType>(getValue().getType());
  auto to = cast<RankedTensorType>(getType());
  int64_t part = getPart(), rows = from.getDimSize(0);
  if (rows % part || from.getRank() != to.getRank() ||
      from.getShape().drop_front() != to.getShape().drop_front() ||
      to.getDimSize(0) % (rows / part) ||
      static_cast<int64_t>(getFirst()) + to.getDimSize(0) / (rows / part) >
          part)
    return emitOpError("cannot take ") << to << " from row " << getFirst()
                                       << " of parts of " << part << " of "
                                       << from;
  return success();
}

LogicalResult SliceColumnsOp::verify() {
  auto from = cast<RankedTensorType>(getValue().getType());
  auto to = cast<RankedTensorType>(getType());
  if (from.getRank() != 2 || to.getRank() != 2 ||
      from.getDimSize(0) != to.getDimSize(0) ||
      to.getDimSize(1) > from.getDimSize(1) ||
      static_cast<int64_t>(getFirst()) > from.getDimSize(1) - to.getDimSize(1))
    return emitOpError("cannot take ")
           << to << " from column " << getFirst() << " of " << from;
  return success();
}

LogicalResult TransposeOp::verify() {
  auto from = cast<RankedTensorType>(getValue().getType());
  auto to = cast<RankedTensorType>(getType());
  int64_t part = getPart();
  if (from.getRank() != 2 || to.getRank() != 2 || from.getDimSize(0) % part ||
      to.getDimSize(1) != part ||
      to.getDimSize(0) != from.getDimSize(0) / part * from.getDimSize(1))
    return emitOpError("does not give ") << to << " for parts of " << part
                                         << " rows of " << from;
  return success();
}

LogicalResult BlockScaleOp::verify() {
  auto type = cast<RankedTensorType>(getValue().getType());
  auto scales = cast<RankedTensorType>(getScales().getType());
  ArrayRef<int64_t> block = getBlock();
  if (type.getRank() != 2 || scales.getRank() != 2 || block.size() != 2 ||
      block[0] < 1 || block[1] < 1)
    return emitOpError("needs matrices and two sizes of blocks");
  int64_t rows = type.getDimSize(0), part = getPart().value_or(rows);
  if (rows % part)
    return emitOpError("has ") << rows << " rows in parts of " << part;
  int64_t down = rows / part * llvm::divideCeil(part, block[0]);
  int64_t across = llvm::divideCeil(type.getDimSize(1), block[1]);
  if (scales.getShape() != ArrayRef<int64_t>{down, across})
    return emitOpError("needs ")
           << down << " by " << across << " scales, found " << scales;
  return success();
}

LogicalResult EncodeOp::verify() {
  auto from = cast<RankedTensorType>(getValue().getType());
  auto to = cast<RankedTensorType>(getType());
  if (from.getEncoding() || !getEncoding(to) ||
      from.getShape() != to.getShape())
    return emitOpError("needs a plain value and the same shape with an "
                       "encoding, found ")
           << from << " and " << to;
  return success();
}
