//===- Gguf.cpp - The header of a GGUF file -------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Gguf.h"

#include "importer/InputError.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"

#include <bit>
#include <limits>

using namespace llvm;
namespace endian = llvm::support::endian;

namespace sputnik {

/// Bytes of a value of a kind, 0 for strings and arrays.
static unsigned scalarBytes(GgufValue::Kind kind) {
  switch (kind) {
  case GgufValue::U8:
  case GgufValue::I8:
  case GgufValue::Bool:
    return 1;
  case GgufValue::U16:
  case GgufValue::I16:
    return 2;
  case GgufValue::U32:
  case GgufValue::I32:
  case GgufValue::F32:
    return 4;
  case GgufValue::U64:
  case GgufValue::I64:
  case GgufValue::F64:
    return 8;
  case GgufValue::String:
  case GgufValue::Array:
    return 0;
  }
  return 0;
}

/// Walks the bytes of a header. Every read is checked against what remains.
class GgufParser {
public:
  GgufParser(ArrayRef<uint8_t> bytes, StringRef file) : bytes(bytes), at(0) {
    result.file = file.str();
  }

  Expected<GgufFile> run(unsigned index) {
    if (Error error = readFixedPart())
      return error;
    for (uint64_t i = 0; i < keyCount; ++i)
      if (Error error = readKeyValue(i))
        return error;
    if (Error error = readAlignment())
      return error;
    for (uint64_t i = 0; i < tensorCount; ++i)
      if (Error error = readTensor(i))
        return error;
    if (Error error = placeTensors(index))
      return error;
    return std::move(result);
  }

private:
  static constexpr uint64_t maxKeyBytes = 65535;
  static constexpr uint64_t maxNameBytes = 64;
  static constexpr uint64_t maxAlignment = 1 << 20;
  static constexpr unsigned maxRank = 4;
  /// Far above what models have: about 50 keys, and 1,086 tensors in the
  /// largest.
  static constexpr uint64_t maxKeys = 1 << 16;
  static constexpr uint64_t maxTensors = 1 << 20;

  uint64_t remaining() const { return bytes.size() - at; }

  Error fail(const Twine &message) const {
    return inputError(result.file, message);
  }
  Error ends(const Twine &where) const {
    return fail("the file ends within " + where);
  }

  bool read32(uint32_t &value) {
    if (remaining() < 4)
      return false;
    value = endian::read32le(bytes.data() + at);
    at += 4;
    return true;
  }
  bool read64(uint64_t &value) {
    if (remaining() < 8)
      return false;
    value = endian::read64le(bytes.data() + at);
    at += 8;
    return true;
  }

  /// A string, at most `maxBytes` long, of UTF-8 without NUL.
  Error readString(const Twine &what, uint64_t maxBytes, StringRef &text) {
    uint64_t length;
    if (!read64(length))
      return ends(what);
    if (length > remaining())
      return fail(what + " has " + Twine(length) + " bytes, but only " +
                  Twine(remaining()) + " remain in the file");
    if (length > maxBytes)
      return fail(what + " has " + Twine(length) + " bytes, expected at most " +
                  Twine(maxBytes));
    text = StringRef(reinterpret_cast<const char *>(bytes.data()) + at, length);
    at += length;
    if (!json::isUTF8(text))
      return fail(what + " is not valid UTF-8: " + quoted(text));
    if (text.contains('\0'))
      return fail(what + " holds a NUL byte: " + quoted(text));
    return Error::success();
  }

  Error readFixedPart() {
    if (bytes.size() < 4 ||
        StringRef(reinterpret_cast<const char *>(bytes.data()), 4) != "GGUF")
      return fail("is not a GGUF file: it does not begin with 'GGUF'");
    at = 4;
    uint32_t version;
    if (!read32(version))
      return ends("the header");
    if (version != 2 && version != 3)
      return fail("has GGUF version " + Twine(version) + ", expected 2 or 3" +
                  (version > 0xffffff ? " (a big-endian file)" : ""));
    if (!read64(tensorCount) || !read64(keyCount))
      return ends("the header");
    if (keyCount > maxKeys)
      return fail("claims " + Twine(keyCount) +
                  " metadata keys, expected at most " + Twine(maxKeys));
    if (tensorCount > maxTensors)
      return fail("claims " + Twine(tensorCount) +
                  " tensors, expected at most " + Twine(maxTensors));
    // The least bytes of a key with its value (length, one character, type,
    // value) and of a tensor (length, one character, rank, one dimension,
    // type, offset).
    constexpr uint64_t leastKey = 8 + 1 + 4 + 1;
    constexpr uint64_t leastTensor = 8 + 1 + 4 + 8 + 4 + 8;
    if (keyCount > remaining() / leastKey)
      return fail("claims " + Twine(keyCount) + " metadata keys, but only " +
                  Twine(remaining()) + " bytes remain in the file");
    if (tensorCount > remaining() / leastTensor)
      return fail("claims " + Twine(tensorCount) + " tensors, but only " +
                  Twine(remaining()) + " bytes remain in the file");
    return Error::success();
  }

  Error readKind(StringRef key, GgufValue::Kind &kind) {
    uint32_t number;
    if (!read32(number))
      return ends("the value of key " + quoted(key));
    if (number > GgufValue::F64)
      return fail("key " + quoted(key) + " has the unknown value type " +
                  Twine(number));
    kind = static_cast<GgufValue::Kind>(number);
    return Error::success();
  }

  Error readKeyValue(uint64_t i) {
    StringRef key;
    if (Error error = readString("metadata key " + Twine(i), maxKeyBytes, key))
      return error;
    if (key.empty() || !all_of(key, [](char c) { return c > ' ' && c < 127; }))
      return fail("metadata key " + Twine(i) + ", " + quoted(key) +
                  ", is not a word of ASCII characters");
    GgufValue value;
    if (Error error = readKind(key, value.kind))
      return error;
    if (value.kind == GgufValue::Array) {
      if (Error error = readKind(key, value.elementKind))
        return error;
      if (value.elementKind == GgufValue::Array)
        return fail("key " + quoted(key) + " is an array of arrays");
      if (!read64(value.count))
        return ends("the value of key " + quoted(key));
    }
    if (Error error = readElements(key, value))
      return error;
    if (!result.metadata.try_emplace(key, value).second)
      return fail("key " + quoted(key) + " occurs twice");
    return Error::success();
  }

  /// The bytes of a value whose kind and count are known.
  Error readElements(StringRef key, GgufValue &value) {
    const bool isArray = value.kind == GgufValue::Array;
    const GgufValue::Kind kind = isArray ? value.elementKind : value.kind;
    const std::string what = "the value of key " + quoted(key);
    if (kind == GgufValue::String) {
      if (!isArray) {
        StringRef text;
        if (Error error = readString(what, UINT64_MAX, text))
          return error;
        value.bytes = arrayRefFromStringRef(text);
        return Error::success();
      }
      if (value.count > remaining() / 8)
        return tooMany(key, value.count);
      const uint64_t begin = at;
      for (uint64_t i = 0; i < value.count; ++i) {
        StringRef text;
        if (Error error =
                readString("element " + Twine(i) + " of key " + quoted(key),
                           UINT64_MAX, text))
          return error;
      }
      value.bytes = bytes.slice(begin, at - begin);
      return Error::success();
    }
    const unsigned size = scalarBytes(kind);
    if (value.count > remaining() / size)
      return isArray ? tooMany(key, value.count) : ends(what);
    value.bytes = bytes.slice(at, value.count * size);
    at += value.bytes.size();
    if (kind == GgufValue::Bool &&
        any_of(value.bytes, [](uint8_t byte) { return byte > 1; }))
      return fail(what + " is a bool that is neither 0 nor 1");
    return Error::success();
  }

  Error tooMany(StringRef key, uint64_t count) const {
    return fail("key " + quoted(key) + " claims " + Twine(count) +
                " elements, but only " + Twine(remaining()) +
                " bytes remain in the file");
  }

  Error readAlignment() {
    const GgufValue *value = result.find("general.alignment");
    if (!value)
      return Error::success();
    std::optional<int64_t> number = value->asInteger();
    if (!number || *number < 8 || *number > int64_t(maxAlignment) ||
        *number % 8 != 0)
      return fail("key 'general.alignment' is " +
                  (number ? std::to_string(*number) : value->kindText()) +
                  ", expected a multiple of 8 from 8 to " +
                  Twine(maxAlignment));
    alignment = *number;
    return Error::success();
  }

  Error readTensor(uint64_t i) {
    TensorRef tensor;
    StringRef tensorName;
    if (Error error = readString("the name of tensor " + Twine(i), maxNameBytes,
                                 tensorName))
      return error;
    if (tensorName.empty())
      return fail("the name of tensor " + Twine(i) + " is empty");
    if (!names.insert(tensorName).second)
      return fail("tensor " + quoted(tensorName) + " occurs twice");
    tensor.name = tensorName.str();
    const std::string what = "tensor " + quoted(tensorName);

    uint32_t rank;
    if (!read32(rank))
      return ends(what);
    if (rank == 0 || rank > maxRank)
      return fail(what + " has " + Twine(rank) + " dimensions, expected 1 to " +
                  Twine(maxRank));
    for (uint32_t d = 0; d < rank; ++d) {
      uint64_t size;
      if (!read64(size))
        return ends(what);
      if (size == 0 || size > uint64_t(std::numeric_limits<int64_t>::max()))
        return fail(what + " has a dimension of " + Twine(size));
      // The file lists the innermost dimension first.
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    uint32_t typeNumber;
    if (!read32(typeNumber) || !read64(tensor.offset))
      return ends(what);
    std::optional<TensorType> type = ggmlType(typeNumber);
    if (!type)
      return fail(what + " has " + ggmlTypeText(typeNumber) +
                  ", which is not supported");
    tensor.type = *type;
    if (tensor.shape.back() % blockElements(*type) != 0)
      return fail(what + " has rows of " + Twine(tensor.shape.back()) +
                  " elements, expected a multiple of " +
                  Twine(blockElements(*type)) + " for " + name(*type));
    std::optional<uint64_t> size = tensorBytes(*type, tensor.shape);
    if (!size)
      return fail(what + " has the shape " + shapeText(tensor.shape) +
                  ", whose size overflows");
    tensor.bytes = *size;
    if (tensor.offset % alignment != 0)
      return fail(what + " begins at " + Twine(tensor.offset) +
                  ", expected a multiple of the alignment " + Twine(alignment));
    result.list.push_back(std::move(tensor));
    return Error::success();
  }

  /// Makes the offsets absolute. The data must be the tensors in a row, each
  /// padded to the alignment; the last need not be.
  Error placeTensors(unsigned index) {
    const uint64_t dataBegin = alignTo(at, alignment);
    const uint64_t dataBytes =
        dataBegin <= bytes.size() ? bytes.size() - dataBegin : 0;
    SmallVector<TensorRef *> sorted;
    for (TensorRef &tensor : result.list)
      sorted.push_back(&tensor);
    sort(sorted, [](const TensorRef *a, const TensorRef *b) {
      return a->offset < b->offset;
    });
    uint64_t end = 0;
    for (TensorRef *tensor : sorted) {
      if (tensor->offset > dataBytes ||
          tensor->bytes > dataBytes - tensor->offset)
        return fail("tensor " + quoted(tensor->name) + " has " +
                    Twine(tensor->bytes) + " bytes at " +
                    Twine(tensor->offset) + ", but the file has only " +
                    Twine(dataBytes) + " bytes of data");
      if (tensor->offset != end)
        return fail("tensor " + quoted(tensor->name) + " begins at " +
                    Twine(tensor->offset) + ", expected " + Twine(end) +
                    ": the data has a hole or an overlap");
      end = alignTo(tensor->offset + tensor->bytes, alignment);
      tensor->offset += dataBegin;
      tensor->file = index;
    }
    return Error::success();
  }

  ArrayRef<uint8_t> bytes;
  uint64_t at;
  uint64_t tensorCount = 0, keyCount = 0;
  uint64_t alignment = 32;
  StringSet<> names;
  GgufFile result;
};

Expected<GgufFile> GgufFile::parse(ArrayRef<uint8_t> bytes, StringRef file,
                                   unsigned index) {
  return GgufParser(bytes, file).run(index);
}

const GgufValue *GgufFile::find(StringRef key) const {
  auto it = metadata.find(key);
  return it == metadata.end() ? nullptr : &it->second;
}

Error GgufFile::wrongKind(StringRef key, StringRef expected) const {
  return inputError(file, "key " + quoted(key) + " is " +
                              find(key)->kindText() + ", expected " + expected);
}

Expected<std::optional<StringRef>> GgufFile::string(StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (std::optional<StringRef> text = value->asString())
    return text;
  return wrongKind(key, "a string");
}

Expected<std::optional<int64_t>> GgufFile::integer(StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (std::optional<int64_t> number = value->asInteger())
    return number;
  return wrongKind(key, "an integer below 2^63");
}

Expected<std::optional<bool>> GgufFile::boolean(StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (std::optional<bool> flag = value->asBool())
    return flag;
  return wrongKind(key, "a bool");
}

/// One element of a numeric array, or a number.
static std::optional<int64_t> integerAt(GgufValue::Kind kind,
                                        const uint8_t *p) {
  switch (kind) {
  case GgufValue::U8:
    return *p;
  case GgufValue::I8:
    return static_cast<int8_t>(*p);
  case GgufValue::U16:
    return endian::read16le(p);
  case GgufValue::I16:
    return static_cast<int16_t>(endian::read16le(p));
  case GgufValue::U32:
    return endian::read32le(p);
  case GgufValue::I32:
    return static_cast<int32_t>(endian::read32le(p));
  case GgufValue::U64: {
    const uint64_t value = endian::read64le(p);
    if (value > uint64_t(std::numeric_limits<int64_t>::max()))
      return std::nullopt;
    return static_cast<int64_t>(value);
  }
  case GgufValue::I64:
    return static_cast<int64_t>(endian::read64le(p));
  case GgufValue::F32:
  case GgufValue::F64:
  case GgufValue::Bool:
  case GgufValue::String:
  case GgufValue::Array:
    break;
  }
  return std::nullopt;
}

std::optional<int64_t> GgufValue::asInteger() const {
  return integerAt(kind, bytes.data());
}

std::optional<double> GgufValue::asNumber() const {
  if (kind == F32)
    return std::bit_cast<float>(endian::read32le(bytes.data()));
  if (kind == F64)
    return std::bit_cast<double>(endian::read64le(bytes.data()));
  if (std::optional<int64_t> integer = asInteger())
    return static_cast<double>(*integer);
  return std::nullopt;
}

std::optional<bool> GgufValue::asBool() const {
  if (kind != Bool)
    return std::nullopt;
  return bytes.front() != 0;
}

std::optional<StringRef> GgufValue::asString() const {
  if (kind != String)
    return std::nullopt;
  return toStringRef(bytes);
}

std::optional<std::vector<StringRef>> GgufValue::asStrings() const {
  if (kind != Array || elementKind != String)
    return std::nullopt;
  std::vector<StringRef> result;
  result.reserve(count);
  StringRef rest = toStringRef(bytes);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t length = endian::read64le(rest.data());
    result.push_back(rest.substr(8, length));
    rest = rest.drop_front(8 + length);
  }
  return result;
}

std::optional<std::vector<int32_t>> GgufValue::asIntegers() const {
  if (kind != Array)
    return std::nullopt;
  std::vector<int32_t> result;
  const unsigned size = scalarBytes(elementKind);
  if (size == 0)
    return std::nullopt;
  result.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    std::optional<int64_t> value =
        integerAt(elementKind, bytes.data() + i * size);
    if (!value || !isInt<32>(*value))
      return std::nullopt;
    result.push_back(static_cast<int32_t>(*value));
  }
  return result;
}

std::string GgufValue::kindText() const {
  static const char *const names[] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                      "i32", "f32", "bool", "string", "array",
                                      "u64", "i64", "f64"};
  if (kind == Array)
    return std::string("an array of ") + names[elementKind];
  return std::string("of type ") + names[kind];
}

} // namespace sputnik
