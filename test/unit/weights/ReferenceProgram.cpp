//===- ReferenceProgram.cpp - Weight programs, one value at a time --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ReferenceProgram.h"

#include "llvm/ADT/APFloat.h"

#include <map>

using namespace llvm;

namespace sputnik::testing {
namespace {

uint64_t stored(r1::Scheme scheme, float value) {
  APFloat number(value);
  bool inexact;
  if (scheme == r1::Scheme::BF16)
    number.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &inexact);
  return number.bitcastToAPInt().getZExtValue();
}

class Reference {
public:
  explicit Reference(const Checkpoint &checkpoint) : checkpoint(checkpoint) {}

  float value(mlir::Value v, int64_t layer, int64_t row, int64_t column) {
    mlir::Operation *op = v.getDefiningOp();
    if (auto read = dyn_cast<r1::ReadOp>(op)) {
      mlir::Operation *weight = mlir::SymbolTable::lookupNearestSymbolFrom(
          read, read.getWeightAttr());
      if (auto derived = dyn_cast<r1::DerivedOp>(weight))
        return value(derived.getBody().front().getTerminator()->getOperand(0),
                     layer, row, column);
      return stored(cast<r1::WeightOp>(weight), layer, row, column);
    }
    if (auto scale = dyn_cast<r1::ScaleColumnsOp>(op))
      return value(scale.getValue(), layer, row, column) *
             value(scale.getGain(), layer, column, 0);
    if (auto slice = dyn_cast<r1::SliceColumnsOp>(op))
      return value(slice.getValue(), layer, row,
                   column + static_cast<int64_t>(slice.getFirst()));
    if (auto concat = dyn_cast<r1::ConcatOp>(op))
      return concatenated(concat, layer, row, column);
    if (auto unpermute = dyn_cast<r1::UnpermuteOp>(op)) {
      const int64_t size = unpermute.getHeadDim(), r = row % size;
      const int64_t from = r < size / 2 ? 2 * r : 2 * (r - size / 2) + 1;
      return value(unpermute.getValue(), layer, row - r + from, column);
    }
    if (auto slice = dyn_cast<r1::SliceRowsOp>(op)) {
      const int64_t part = slice.getPart();
      const int64_t taken = rowsOf(v) / (rowsOf(slice.getValue()) / part);
      return value(slice.getValue(), layer,
                   row / taken * part + slice.getFirst() + row % taken, column);
    }
    if (auto transpose = dyn_cast<r1::TransposeOp>(op)) {
      const int64_t part = transpose.getPart();
      const int64_t columns =
          cast<mlir::RankedTensorType>(transpose.getValue().getType())
              .getDimSize(1);
      return value(transpose.getValue(), layer, row / columns * part + column,
                   row % columns);
    }
    if (auto scale = dyn_cast<r1::BlockScaleOp>(op)) {
      const int64_t part = scale.getPart().value_or(rowsOf(v)),
                    rows = scale.getBlock()[0];
      return value(scale.getValue(), layer, row, column) *
             value(scale.getScales(), layer,
                   row / part * ((part + rows - 1) / rows) + row % part / rows,
                   column / scale.getBlock()[1]);
    }
    if (auto encode = dyn_cast<r1::EncodeOp>(op)) {
      const float exact = value(encode.getValue(), layer, row, column);
      if (r1::getEncoding(encode.getType()).getScheme() == r1::Scheme::F32)
        return exact;
      return bit_cast<float>(static_cast<uint32_t>(
          testing::stored(r1::Scheme::BF16, exact) << 16));
    }
    if (isa<r1::ZeroOp>(op))
      return 0;
    report_fatal_error("the reference does not know an op");
  }

private:
  static int64_t rowsOf(mlir::Value v) {
    return cast<mlir::RankedTensorType>(v.getType()).getDimSize(0);
  }

  float concatenated(r1::ConcatOp concat, int64_t layer, int64_t row,
                     int64_t column) {
    if (std::optional<uint64_t> block = concat.getBlock()) {
      const int64_t operands = concat.getInputs().size(), size = *block;
      const int64_t part =
          concat.getPart().value_or(rowsOf(concat.getInputs().front()));
      const int64_t partRows = (part + size - 1) / size * size * operands;
      const int64_t inPart = row % partRows, turn = inPart / size;
      mlir::Value input = concat.getInputs()[turn % operands];
      const int64_t from = turn / operands * size + inPart % size;
      return from < part
                 ? value(input, layer, row / partRows * part + from, column)
                 : 0;
    }
    for (mlir::Value input : concat.getInputs()) {
      if (row < rowsOf(input))
        return value(input, layer, row, column);
      row -= rowsOf(input);
    }
    report_fatal_error("a row beyond the last operand");
  }

  float stored(r1::WeightOp weight, int64_t layer, int64_t row,
               int64_t column) {
    auto origins = weight.getOrigins().getAsRange<r1::OriginAttr>();
    auto shape = cast<mlir::RankedTensorType>(weight.getType()).getShape();
    const int64_t parts =
        weight.getOrigins().size() / r1::getWeightLayers(weight);
    const int64_t partRows = shape[0] / parts;
    r1::OriginAttr origin =
        *std::next(origins.begin(), (weight.getLayers() ? layer * parts : 0) +
                                        row / partRows);
    row %= partRows;
    std::vector<float> &values =
        tensors[{origin.getOffset(), origin.getBytes()}];
    if (values.empty())
      for (const TensorRef &tensor : checkpoint.tensors())
        if (tensor.offset == origin.getOffset() &&
            tensor.bytes == origin.getBytes()) {
          values.resize(tensor.bytes / blockBytes(tensor.type) *
                        blockElements(tensor.type));
          dequantize(tensor.type, checkpoint.data(tensor).data(), values.data(),
                     values.size());
        }
    return values[row * (shape.size() == 2 ? shape[1] : 1) + column];
  }

  const Checkpoint &checkpoint;
  std::map<std::pair<uint64_t, uint64_t>, std::vector<float>> tensors;
};

} // namespace

std::vector<uint8_t> referenceImage(mlir::ModuleOp module,
                                    const Checkpoint &checkpoint,
                                    uint64_t bytes) {
  std::vector<uint8_t> image(bytes);
  Reference reference(checkpoint);
  for (auto derived : module.getOps<r1::DerivedOp>()) {
    if (!derived.getPlacement())
      continue;
    auto type = cast<mlir::RankedTensorType>(derived.getType());
    const r1::EncodingAttr encoding = r1::getEncoding(type);
    const int64_t n = type.getDimSize(0), p = encoding.getPanel(),
                  k = type.getRank() == 2 ? type.getDimSize(1) : 1,
                  s = type.getRank() == 2 ? encoding.getStep() : 1;
    mlir::Value result =
        derived.getBody().front().getTerminator()->getOperand(0);
    for (int64_t layer = 0; layer < r1::getWeightLayers(derived); ++layer)
      for (int64_t row = 0; row < n; ++row)
        for (int64_t column = 0; column < k; ++column) {
          const float value = reference.value(result, layer, row, column);
          const int64_t index =
              ((row / p) * ((k + s - 1) / s) + column / s) * p * s +
              row % p * s + column % s;
          const uint64_t bits = stored(encoding.getScheme(), value);
          const uint64_t size = encoding.getScheme() == r1::Scheme::F32 ? 4 : 2;
          for (uint64_t byte = 0; byte < size; ++byte)
            image.at(derived.getPlacement()->getOffset() +
                     layer * derived.getPlacement()->getStride() +
                     index * size + byte) =
                static_cast<uint8_t>(bits >> (8 * byte));
        }
  }
  return image;
}

} // namespace sputnik::testing
