//===- SafeTensors.cpp - The header of a safetensors file -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/SafeTensors.h"

#include "importer/InputError.h"
#include "importer/Json.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"

#include <tuple>

using namespace llvm;

namespace sputnik {
namespace {

constexpr uint64_t maxHeaderBytes = 100'000'000;
constexpr size_t maxRank = 8;

/// Reads one member of the header; its offset stays relative to the data.
class TensorReader {
public:
  TensorReader(StringRef file, StringRef name) : file(file), name(name) {}

  Expected<TensorRef> run(const json::Value &value) {
    const json::Object *object = value.getAsObject();
    if (!object)
      return fail("is not an object");
    TensorRef tensor;
    tensor.name = name.str();

    std::optional<StringRef> dtype = object->getString("dtype");
    if (!dtype)
      return fail("has no 'dtype' string");
    std::optional<TensorType> type = safeTensorsType(*dtype);
    if (!type)
      return fail("has the unknown dtype " + quoted(*dtype));
    tensor.type = *type;

    const json::Array *shape = object->getArray("shape");
    if (!shape)
      return fail("has no 'shape' array");
    if (shape->size() > maxRank)
      return fail("has " + Twine(shape->size()) +
                  " dimensions, expected at most " + Twine(maxRank));
    for (const json::Value &dim : *shape) {
      std::optional<int64_t> size = jsonInteger(dim);
      if (!size || *size < 0)
        return fail("has a dimension that is not a whole number");
      tensor.shape.push_back(*size);
    }

    const json::Array *offsets = object->getArray("data_offsets");
    if (!offsets || offsets->size() != 2)
      return fail("has no 'data_offsets' array of two numbers");
    std::optional<int64_t> begin = jsonInteger((*offsets)[0]);
    std::optional<int64_t> end = jsonInteger((*offsets)[1]);
    if (!begin || !end || *begin < 0)
      return fail("has a data offset that is not a whole number");
    if (*end < *begin)
      return fail("ends at " + Twine(*end) + ", before its begin at " +
                  Twine(*begin));
    tensor.offset = *begin;
    tensor.bytes = *end - *begin;

    std::optional<uint64_t> bytes = tensorBytes(tensor.type, tensor.shape);
    if (!bytes)
      return fail("has the shape " + shapeText(tensor.shape) +
                  ", whose size overflows");
    if (*bytes != tensor.bytes)
      return fail("has " + Twine(tensor.bytes) + " bytes, expected " +
                  Twine(*bytes) + " for " + *dtype + " " +
                  shapeText(tensor.shape));
    return tensor;
  }

private:
  Error fail(const Twine &message) {
    return inputError(file, "tensor " + quoted(name) + " " + message);
  }

  StringRef file, name;
};

/// The data must be the tensors in a row, nothing before, between or after.
Error checkCoverage(ArrayRef<TensorRef> sorted, uint64_t dataBytes,
                    StringRef file) {
  uint64_t end = 0;
  for (const TensorRef &tensor : sorted) {
    if (tensor.offset != end)
      return inputError(file, "tensor " + quoted(tensor.name) + " begins at " +
                                  Twine(tensor.offset) + ", expected " +
                                  Twine(end) +
                                  ": the data has a hole or an overlap");
    end += tensor.bytes;
    if (end > dataBytes)
      return inputError(file, "tensor " + quoted(tensor.name) + " ends at " +
                                  Twine(end) + ", but the file has only " +
                                  Twine(dataBytes) + " bytes of data");
  }
  if (end != dataBytes)
    return inputError(file, "has " + Twine(dataBytes) +
                                " bytes of data, expected " + Twine(end) +
                                ": the last tensor ends before the file");
  return Error::success();
}

} // namespace

Expected<SafeTensorsFile> SafeTensorsFile::parse(ArrayRef<uint8_t> bytes,
                                                 StringRef file,
                                                 unsigned index) {
  if (bytes.size() < 8)
    return inputError(file, "has " + Twine(bytes.size()) +
                                " bytes, expected a safetensors file of at "
                                "least 8");
  const uint64_t headerBytes = support::endian::read64le(bytes.data());
  if (headerBytes > maxHeaderBytes)
    return inputError(file, "the header has " + Twine(headerBytes) +
                                " bytes, expected at most " +
                                Twine(maxHeaderBytes));
  if (headerBytes > bytes.size() - 8)
    return inputError(file, "the header has " + Twine(headerBytes) +
                                " bytes, but the file has only " +
                                Twine(bytes.size() - 8) + " after its length");
  StringRef text(reinterpret_cast<const char *>(bytes.data()) + 8, headerBytes);
  if (!text.starts_with("{"))
    return inputError(file, "the header does not begin with '{'");
  Expected<json::Value> header = parseJson(text, file);
  if (!header)
    return header.takeError();

  SafeTensorsFile result;
  const json::Object &members = *header->getAsObject();
  result.list.reserve(members.size());
  for (const auto &[key, value] : members) {
    StringRef name = key;
    if (name == "__metadata__") {
      const json::Object *metadata = value.getAsObject();
      if (!metadata || any_of(*metadata, [](const auto &entry) {
            return entry.second.kind() != json::Value::String;
          }))
        return inputError(file, "'__metadata__' is not an object of strings");
      continue;
    }
    Expected<TensorRef> tensor = TensorReader(file, name).run(value);
    if (!tensor)
      return tensor.takeError();
    result.list.push_back(std::move(*tensor));
  }
  sort(result.list, [](const TensorRef &a, const TensorRef &b) {
    return std::tie(a.offset, a.bytes, a.name) <
           std::tie(b.offset, b.bytes, b.name);
  });

  const uint64_t dataBegin = 8 + headerBytes;
  if (Error error = checkCoverage(result.list, bytes.size() - dataBegin, file))
    return error;
  for (TensorRef &tensor : result.list) {
    tensor.file = index;
    tensor.offset += dataBegin;
  }
  return result;
}

} // namespace sputnik
