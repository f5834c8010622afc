//===- WeightProgram.cpp - Programs over weights, ready to run ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightProgram.h"

#include "codegen/weights/MappedPages.h"
#include "codegen/weights/WeightEncoder.h"
#include "importer/InputError.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Path.h"

#include <cmath>
#include <utility>

using namespace llvm;

namespace sputnik {

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

namespace {

std::optional<TensorType> typeNamed(StringRef stored) {
  for (unsigned i = 0; i < numTensorTypes; ++i)
    if (name(static_cast<TensorType>(i)) == stored)
      return static_cast<TensorType>(i);
  return std::nullopt;
}

Error weightError(StringRef weight, const Twine &message) {
  return createStringError("weight @" + weight + " " + message);
}

} // namespace

/// Appends the nodes of programs; what other programs define is appended in
/// place of its r1.read.
class WeightProgramBuilder {
public:
  explicit WeightProgramBuilder(const Checkpoint &checkpoint)
      : program(checkpoint) {}

  Expected<WeightProgram> build(r1::DerivedOp derived) {
    program.layerCount = derived.getLayers().value_or(1);
    program.resultType = cast<mlir::RankedTensorType>(derived.getType());
    mlir::Value result = resultOf(derived);
    auto encode = result.getDefiningOp<r1::EncodeOp>();
    if (!program.encoding() || !encode)
      return weightError(derived.getSymName(),
                         "has a place in the image, but no encoding");
    active.push_back(derived);
    Expected<unsigned> node = add(encode.getValue());
    if (!node)
      return node.takeError();
    return std::move(program);
  }

private:
  using Node = WeightProgram::Node;
  using Kind = WeightProgram::Kind;

  static mlir::Value resultOf(r1::DerivedOp derived) {
    return derived.getBody().front().getTerminator()->getOperand(0);
  }

  /// Adds what `value` needs, then `value` as the last node.
  Expected<unsigned> add(mlir::Value value) {
    mlir::Operation *op = value.getDefiningOp();
    if (auto read = dyn_cast<r1::ReadOp>(op))
      return addWeight(read);
    auto type = cast<mlir::RankedTensorType>(value.getType());
    Node node;
    node.rows = type.getDimSize(0);
    node.columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
    for (mlir::Value operand : op->getOperands()) {
      Expected<unsigned> input = add(operand);
      if (!input)
        return input.takeError();
      node.inputs.push_back(*input);
    }
    bool known = true;
    TypeSwitch<mlir::Operation *>(op)
        .Case([&](r1::ScaleColumnsOp) { node.kind = Kind::ScaleColumns; })
        .Case([&](r1::ConcatOp concat) {
          node.kind = Kind::Concat;
          node.group = concat.getBlock().value_or(0);
          node.part = concat.getPart().value_or(0);
        })
        .Case([&](r1::UnpermuteOp unpermute) {
          node.kind = Kind::Unpermute;
          node.group = unpermute.getHeadDim();
        })
        .Case([&](r1::SliceRowsOp slice) {
          node.kind = Kind::SliceRows;
          node.part = slice.getPart();
          node.group = slice.getFirst();
        })
        .Case([&](r1::SliceColumnsOp slice) {
          node.kind = Kind::SliceColumns;
          node.group = slice.getFirst();
        })
        .Case([&](r1::TransposeOp transpose) {
          node.kind = Kind::Transpose;
          node.part = transpose.getPart();
        })
        .Case([&](r1::BlockScaleOp scale) {
          node.kind = Kind::BlockScale;
          node.part = scale.getPart().value_or(node.rows);
          node.block = {scale.getBlock()[0], scale.getBlock()[1]};
        })
        .Case([&](r1::EncodeOp) {
          node.kind = Kind::Round;
          node.scheme = r1::getEncoding(type).getScheme();
        })
        .Case([&](r1::ZeroOp) { node.kind = Kind::Zero; })
        .Default([&](mlir::Operation *) { known = false; });
    if (!known)
      return weightError(active.back().getSymName(),
                         "is made with the unknown operation " +
                             op->getName().getStringRef());
    return append(std::move(node));
  }

  Expected<unsigned> addWeight(r1::ReadOp read) {
    mlir::Operation *weight =
        mlir::SymbolTable::lookupNearestSymbolFrom(read, read.getWeightAttr());
    if (auto stored = dyn_cast<r1::WeightOp>(weight))
      return addStored(stored);
    auto derived = cast<r1::DerivedOp>(weight);
    if (is_contained(active, derived))
      return weightError(derived.getSymName(), "is made from itself");
    active.push_back(derived);
    Expected<unsigned> node = add(resultOf(derived));
    active.pop_back();
    return node;
  }

  Expected<unsigned> addStored(r1::WeightOp weight) {
    SmallVector<int64_t> shape(
        cast<mlir::RankedTensorType>(weight.getType()).getShape());
    Node node;
    node.kind = Kind::Read;
    node.rows = shape[0];
    node.columns = shape.size() == 2 ? shape[1] : 1;
    shape[0] /= weight.getOrigins().size() / r1::getWeightLayers(weight);
    node.part = shape[0];
    for (auto origin : weight.getOrigins().getAsRange<r1::OriginAttr>()) {
      Expected<WeightProgram::Source> source =
          resolve(weight.getSymName(), origin, shape);
      if (!source)
        return source.takeError();
      node.sources.push_back(*source);
    }
    return append(std::move(node));
  }

  Expected<WeightProgram::Source>
  resolve(StringRef weight, r1::OriginAttr origin, ArrayRef<int64_t> shape) {
    const std::optional<TensorType> type = typeNamed(origin.getStored());
    if (!type || !holdsWeights(*type))
      return weightError(weight, "is stored as " + quoted(origin.getStored()) +
                                     ", which is not a type of weights");
    if (tensorBytes(*type, shape) != origin.getBytes())
      return weightError(weight, "has " + Twine(origin.getBytes()) +
                                     " bytes, which does not fit the shape " +
                                     shapeText(shape) + " of " +
                                     origin.getStored());
    for (auto [index, file] : enumerate(program.checkpoint->files())) {
      if (sys::path::filename(file.path()) != origin.getFile())
        continue;
      if (origin.getOffset() > file.size() ||
          origin.getBytes() > file.size() - origin.getOffset())
        return inputError(file.path(), "ends before weight @" + weight);
      return WeightProgram::Source{
          *type, file.bytes().slice(origin.getOffset(), origin.getBytes()),
          static_cast<unsigned>(index), origin.getOffset()};
    }
    return weightError(weight, "lies in " + quoted(origin.getFile()) +
                                   ", which is not part of the checkpoint");
  }

  unsigned append(Node node) {
    program.nodes.push_back(std::move(node));
    return program.nodes.size() - 1;
  }

  WeightProgram program;
  SmallVector<r1::DerivedOp> active;
};

Expected<WeightProgram> WeightProgram::create(r1::DerivedOp derived,
                                              const Checkpoint &checkpoint) {
  return WeightProgramBuilder(checkpoint).build(derived);
}

Error WeightProgram::sourceError(const Source &source,
                                 const Twine &message) const {
  StringRef file = checkpoint->files()[source.file].path();
  for (const TensorRef &tensor : checkpoint->tensors())
    if (tensor.file == source.file && tensor.offset == source.offset &&
        tensor.bytes == source.bytes.size())
      return inputError(file, "tensor " + quoted(tensor.name) + " " + message);
  return inputError(file, "the tensor at byte " + Twine(source.offset) + " " +
                              message);
}

bool WeightProgram::hasBlockScales() const {
  return any_of(nodes,
                [](const Node &node) { return node.kind == Kind::BlockScale; });
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

Error WeightProgram::Evaluator::evaluate(const WeightProgram &program,
                                         int64_t layer, int64_t first,
                                         int64_t count, float *out) {
  return run(program, program.nodes.size() - 1, layer, first, count, out);
}

Error WeightProgram::Evaluator::evaluateScales(const WeightProgram &program,
                                               int64_t layer, int64_t first,
                                               int64_t count, float *out) {
  scalesOnly = true;
  Error error = evaluate(program, layer, first, count, out);
  scalesOnly = false;
  return error;
}

Error WeightProgram::Evaluator::run(const WeightProgram &program,
                                    unsigned index, int64_t layer,
                                    int64_t first, int64_t count, float *out) {
  const Node &node = program.nodes[index];
  const bool computes = node.kind == Kind::Read || node.kind == Kind::Round ||
                        node.kind == Kind::ScaleColumns;
  if (scalesOnly && computes) {
    std::fill_n(out, count * node.columns, 0.0f);
    return Error::success();
  }
  switch (node.kind) {
  case Kind::Read:
    return runRead(program, index, layer, first, count, out);
  case Kind::Concat:
    return runConcat(program, index, layer, first, count, out);
  case Kind::Unpermute:
    return runUnpermute(program, index, layer, first, count, out);
  case Kind::SliceRows:
    return runSliceRows(program, index, layer, first, count, out);
  case Kind::SliceColumns:
    return runSliceColumns(program, index, layer, first, count, out);
  case Kind::Transpose:
    return runTranspose(program, index, layer, first, count, out);
  case Kind::BlockScale:
    return runBlockScale(program, index, layer, first, count, out);
  case Kind::Zero:
    std::fill_n(out, count * node.columns, 0.0f);
    return Error::success();
  case Kind::Round:
    if (Error error = run(program, node.inputs[0], layer, first, count, out))
      return error;
    roundToScheme(node.scheme, node.columns,
                  {out, static_cast<size_t>(count * node.columns)});
    return Error::success();
  case Kind::ScaleColumns: {
    if (Error error = run(program, node.inputs[0], layer, first, count, out))
      return error;
    std::vector<float> gain(node.columns);
    if (Error error =
            run(program, node.inputs[1], layer, 0, node.columns, gain.data()))
      return error;
    for (int64_t row = 0; row < count; ++row)
      for (int64_t column = 0; column < node.columns; ++column)
        out[row * node.columns + column] *= gain[column];
    return Error::success();
  }
  }
  llvm_unreachable("every kind runs");
}

Error WeightProgram::Evaluator::runRead(const WeightProgram &program,
                                        unsigned index, int64_t layer,
                                        int64_t first, int64_t count,
                                        float *out) {
  const Node &node = program.nodes[index];
  // Parts are separate tensors.
  while (first / node.part != (first + count - 1) / node.part) {
    const int64_t run = node.part - first % node.part;
    if (Error error = runRead(program, index, layer, first, run, out))
      return error;
    out += run * node.columns;
    first += run;
    count -= run;
  }
  const int64_t parts = node.rows / node.part, part = first / node.part;
  const bool stacked = static_cast<int64_t>(node.sources.size()) != parts;
  const Source &source = node.sources[(stacked ? layer * parts : 0) + part];
  first %= node.part;
  // Rows of a matrix are whole blocks; those of a vector need not be.
  const int64_t block = blockElements(source.type);
  const int64_t begin = first * node.columns,
                end = (first + count) * node.columns;
  const int64_t firstBlock = begin / block, lastBlock = divideCeil(end, block);
  ArrayRef<uint8_t> bytes =
      source.bytes.slice(firstBlock * blockBytes(source.type),
                         (lastBlock - firstBlock) * blockBytes(source.type));
  if (!loadPages(bytes))
    return program.sourceError(source, "cannot be read: the file has changed "
                                       "or its disk fails");
  touched.push_back({bytes, program.checkpoint->files()[source.file].bytes()});

  if (begin % block == 0 && end % block == 0) {
    dequantize(source.type, bytes.data(), out, end - begin);
  } else {
    std::vector<float> blocks((lastBlock - firstBlock) * block);
    dequantize(source.type, bytes.data(), blocks.data(), blocks.size());
    std::copy_n(blocks.data() + (begin - firstBlock * block), end - begin, out);
  }

  const ArrayRef<float> values(out, end - begin);
  if (representable(r1::Scheme::F32, values))
    return Error::success();
  const auto bad = find_if(values, [](float x) { return !std::isfinite(x); });
  return program.sourceError(
      source, "holds " + Twine(std::isnan(*bad) ? "NaN" : "an infinity") +
                  " at element " + Twine(begin + (bad - values.begin())) +
                  ", expected finite numbers");
}

Error WeightProgram::Evaluator::runConcat(const WeightProgram &program,
                                          unsigned index, int64_t layer,
                                          int64_t first, int64_t count,
                                          float *out) {
  const Node &node = program.nodes[index];
  const int64_t operands = node.inputs.size(), end = first + count;
  const int64_t part =
      node.part ? node.part : program.nodes[node.inputs[0]].rows;
  const int64_t partRows =
      node.group ? operands * static_cast<int64_t>(alignTo(part, node.group))
                 : 0;
  int64_t inputStart = 0; // The result row of input 0, without blocks.
  unsigned input = 0;
  for (int64_t row = first; row < end;) {
    // The longest run of rows from here that are consecutive in one operand,
    // and how many of those exist.
    int64_t inputRow, run, present;
    if (node.group) {
      const int64_t inPart = row % partRows, block = node.group;
      input = inPart / block % operands;
      inputRow = inPart / (block * operands) * block + inPart % block;
      run = std::min(block - inPart % block, end - row);
      present = std::clamp<int64_t>(part - inputRow, 0, run);
      inputRow += row / partRows * part;
    } else {
      while (row - inputStart >= program.nodes[node.inputs[input]].rows)
        inputStart += program.nodes[node.inputs[input++]].rows;
      inputRow = row - inputStart;
      run = present = std::min(
          program.nodes[node.inputs[input]].rows - inputRow, end - row);
    }
    float *target = out + (row - first) * node.columns;
    if (present)
      if (Error error = this->run(program, node.inputs[input], layer, inputRow,
                                  present, target))
        return error;
    std::fill(target + present * node.columns, target + run * node.columns,
              0.0f);
    row += run;
  }
  return Error::success();
}

Error WeightProgram::Evaluator::runUnpermute(const WeightProgram &program,
                                             unsigned index, int64_t layer,
                                             int64_t first, int64_t count,
                                             float *out) {
  const Node &node = program.nodes[index];
  const int64_t half = node.group / 2, columns = node.columns;
  std::vector<float> pairs;
  for (int64_t row = first; row < first + count;) {
    // Rows of one half of a head are every second row of their pairs.
    const int64_t inHead = row % node.group, inHalf = inHead % half;
    const int64_t run = std::min(half - inHalf, first + count - row);
    pairs.resize(2 * run * columns);
    if (Error error =
            this->run(program, node.inputs[0], layer, row - inHead + 2 * inHalf,
                      2 * run, pairs.data()))
      return error;
    const float *source = pairs.data() + (inHead / half) * columns;
    for (int64_t r = 0; r < run; ++r, ++row)
      std::copy_n(source + 2 * r * columns, columns,
                  out + (row - first) * columns);
  }
  return Error::success();
}

Error WeightProgram::Evaluator::runSliceRows(const WeightProgram &program,
                                             unsigned index, int64_t layer,
                                             int64_t first, int64_t count,
                                             float *out) {
  const Node &node = program.nodes[index];
  const int64_t parts = program.nodes[node.inputs[0]].rows / node.part;
  const int64_t taken = node.rows / parts;
  for (int64_t row = first; row < first + count;) {
    const int64_t run = std::min(taken - row % taken, first + count - row);
    if (Error error = this->run(program, node.inputs[0], layer,
                                row / taken * node.part + node.group +
                                    row % taken,
                                run, out + (row - first) * node.columns))
      return error;
    row += run;
  }
  return Error::success();
}

Error WeightProgram::Evaluator::runSliceColumns(const WeightProgram &program,
                                                unsigned index, int64_t layer,
                                                int64_t first, int64_t count,
                                                float *out) {
  const Node &node = program.nodes[index];
  const int64_t columns = program.nodes[node.inputs[0]].columns;
  std::vector<float> whole(count * columns);
  if (Error error =
          run(program, node.inputs[0], layer, first, count, whole.data()))
    return error;
  for (int64_t row = 0; row < count; ++row)
    std::copy_n(whole.data() + row * columns + node.group, node.columns,
                out + row * node.columns);
  return Error::success();
}

Error WeightProgram::Evaluator::runTranspose(const WeightProgram &program,
                                             unsigned index, int64_t layer,
                                             int64_t first, int64_t count,
                                             float *out) {
  const Node &node = program.nodes[index];
  const int64_t part = node.part,
                columns = program.nodes[node.inputs[0]].columns;
  std::vector<float> values(part * columns);
  for (int64_t row = first; row < first + count;) {
    const int64_t column = row % columns;
    const int64_t run = std::min(columns - column, first + count - row);
    if (Error error = this->run(program, node.inputs[0], layer,
                                row / columns * part, part, values.data()))
      return error;
    for (int64_t r = 0; r < run; ++r, ++row)
      for (int64_t i = 0; i < part; ++i)
        out[(row - first) * part + i] = values[i * columns + column + r];
  }
  return Error::success();
}

Error WeightProgram::Evaluator::runBlockScale(const WeightProgram &program,
                                              unsigned index, int64_t layer,
                                              int64_t first, int64_t count,
                                              float *out) {
  const Node &node = program.nodes[index];
  if (scalesOnly)
    std::fill_n(out, count * node.columns, 1.0f);
  else if (Error error =
               run(program, node.inputs[0], layer, first, count, out))
    return error;
  const auto [rows, columns] = node.block;
  const int64_t across = divideCeil(node.columns, columns);
  const auto scaleRow = [&](int64_t row) {
    return row / node.part * static_cast<int64_t>(divideCeil(node.part, rows)) +
           row % node.part / rows;
  };
  const int64_t firstScale = scaleRow(first);
  const int64_t scaleRows = scaleRow(first + count - 1) - firstScale + 1;
  std::vector<float> scales(scaleRows * across);
  const bool replaced = std::exchange(scalesOnly, false);
  Error error = run(program, node.inputs[1], layer, firstScale, scaleRows,
                    scales.data());
  scalesOnly = replaced;
  if (error)
    return error;
  for (int64_t row = 0; row < count; ++row) {
    const float *scale =
        scales.data() + (scaleRow(first + row) - firstScale) * across;
    float *values = out + row * node.columns;
    for (int64_t column = 0; column < node.columns; column += columns, ++scale)
      for (int64_t i = column; i < std::min(node.columns, column + columns);
           ++i)
        values[i] *= *scale;
  }
  return Error::success();
}

void WeightProgram::Evaluator::releasePages() {
  for (const Touched &range : touched)
    sputnik::releasePages(range.bytes, range.file);
  touched.clear();
}

} // namespace sputnik
