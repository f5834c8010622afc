//===- Gguf.h - The header of a GGUF file -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_GGUF_H
#define SPUTNIK_IMPORTER_GGUF_H

#include "importer/TensorRef.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <vector>

namespace sputnik {

/// A metadata value. It refers to the bytes of the file.
struct GgufValue {
  /// The numbers are those of the format.
  enum Kind : uint32_t {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
  };
  Kind kind;
  /// Of an array; never Array.
  Kind elementKind = U8;
  /// Elements of an array, 1 for other values.
  uint64_t count = 1;
  /// The checked bytes of the value: of a string without its length; of an
  /// array of strings with each one's length.
  llvm::ArrayRef<uint8_t> bytes;

  /// Any integer kind, if the value fits.
  std::optional<int64_t> asInteger() const;
  /// F32, F64 and integers.
  std::optional<double> asNumber() const;
  std::optional<bool> asBool() const;
  std::optional<llvm::StringRef> asString() const;
  std::optional<std::vector<llvm::StringRef>> asStrings() const;
  /// An array of any integer kind whose values all fit.
  std::optional<std::vector<int32_t>> asIntegers() const;
  /// `a u32`, `an array of strings`: for errors.
  std::string kindText() const;
};

/// The metadata and tensors of one GGUF file, version 2 or 3, little-endian.
class GgufFile {
public:
  /// Checks the header of the file whose content is `bytes`, which must outlive
  /// the result. `file` names it in errors, `index` becomes TensorRef::file.
  /// Enforces all of the format's rules; also, that arrays are not nested and
  /// that tensors follow one another with only alignment between them.
  static llvm::Expected<GgufFile> parse(llvm::ArrayRef<uint8_t> bytes,
                                        llvm::StringRef file,
                                        unsigned index = 0);

  /// In the order of the header, with the names of the file.
  llvm::ArrayRef<TensorRef> tensors() const { return list; }
  std::vector<TensorRef> takeTensors() { return std::move(list); }

  const GgufValue *find(llvm::StringRef key) const;
  llvm::StringRef path() const { return file; }

  /// The value of `key`; nothing if it is absent; an error if it is something
  /// else.
  llvm::Expected<std::optional<llvm::StringRef>>
  string(llvm::StringRef key) const;
  llvm::Expected<std::optional<int64_t>> integer(llvm::StringRef key) const;
  llvm::Expected<std::optional<bool>> boolean(llvm::StringRef key) const;

private:
  friend class GgufParser;

  llvm::Error wrongKind(llvm::StringRef key, llvm::StringRef expected) const;

  std::string file;
  llvm::StringMap<GgufValue> metadata;
  std::vector<TensorRef> list;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_GGUF_H
