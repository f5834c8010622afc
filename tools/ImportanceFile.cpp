//===- ImportanceFile.cpp - Importance in a file --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tools/ImportanceFile.h"

#include "codegen/link/OutputFile.h"
#include "importer/InputError.h"
#include "importer/InputFile.h"
#include "importer/SafeTensors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>
#include <cstring>

using namespace llvm;
using namespace sputnik;

static Expected<Importance::Matrix> readMatrix(const InputFile &file,
                                               const TensorRef &tensor,
                                               const r1::Observation &product) {
  const std::string where = (file.path() + ": tensor '" + tensor.name + "'").str();
  if (tensor.type != TensorType::F32 ||
      tensor.shape != SmallVector<int64_t, 4>{product.layers, product.columns})
    return createStringError(
        formatv("{0}: expected F32 of {1} layers and {2} columns, as the model "
                "has them, found {3} of [{4:$[, ]}]",
                where, product.layers, product.columns,
                sputnik::name(tensor.type),
                make_range(tensor.shape.begin(), tensor.shape.end()))
            .str());
  Importance::Matrix matrix{product.layers, product.columns, {}};
  matrix.values.resize(product.layers * product.columns);
  std::memcpy(matrix.values.data(), file.data() + tensor.offset, tensor.bytes);
  for (float value : matrix.values)
    if (!std::isfinite(value) || value < 0)
      return createStringError(
          formatv("{0}: expected mean squares, found {1}", where, value).str());
  return matrix;
}

Expected<Importance>
sputnik::readImportance(StringRef path, ArrayRef<r1::Observation> products) {
  Expected<InputFile> file = InputFile::open(path);
  if (!file)
    return file.takeError();
  Expected<SafeTensorsFile> parsed = SafeTensorsFile::parse(file->bytes(), path);
  if (!parsed)
    return parsed.takeError();
  Importance importance;
  for (const TensorRef &tensor : parsed->tensors()) {
    const auto *product = find_if(products, [&](const r1::Observation &known) {
      return known.weight == tensor.name;
    });
    if (product == products.end())
      return createStringError(path + ": tensor '" + tensor.name +
                               "' belongs to no matrix of the model");
    Expected<Importance::Matrix> matrix = readMatrix(*file, tensor, *product);
    if (!matrix)
      return matrix.takeError();
    importance.matrices.emplace(tensor.name, std::move(*matrix));
  }
  for (const r1::Observation &product : products)
    if (!importance.matrices.count(product.weight))
      return createStringError(path + ": expected a tensor '" + product.weight +
                               "', a matrix of the model, found none");
  return importance;
}

Error sputnik::writeImportance(StringRef path, const Importance &importance) {
  json::Object header;
  uint64_t offset = 0;
  for (const auto &[name, matrix] : importance.matrices) {
    const uint64_t bytes = matrix.values.size() * sizeof(float);
    header[name] = json::Object{
        {"dtype", "F32"},
        {"shape", json::Array{matrix.layers, matrix.columns}},
        {"data_offsets", json::Array{offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = formatv("{0}", json::Value(std::move(header)));
  text.resize(alignTo(text.size(), 8), ' ');
  Expected<OutputFile> file = OutputFile::create(path, /*executable=*/false);
  if (!file)
    return file.takeError();
  std::array<uint8_t, 8> size;
  support::endian::write64le(size.data(), text.size());
  uint64_t at = 0;
  const auto append = [&](ArrayRef<uint8_t> bytes) {
    Error error = file->write(at, bytes);
    at += bytes.size();
    return error;
  };
  if (Error error = append(size))
    return error;
  if (Error error = append(arrayRefFromStringRef(text)))
    return error;
  for (const auto &[name, matrix] : importance.matrices)
    if (Error error = append(
            {reinterpret_cast<const uint8_t *>(matrix.values.data()),
             matrix.values.size() * sizeof(float)}))
      return error;
  return file->commit();
}
