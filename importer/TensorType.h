//===- TensorType.h - How files store numbers -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The element types of safetensors and the block formats of GGUF, and their
// values as f32.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_IMPORTER_TENSORTYPE_H
#define SPUTNIK_IMPORTER_TENSORTYPE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>

namespace sputnik {

enum class TensorType : uint8_t {
  F32,
  F16,
  BF16,
  F64,
  F8E4M3, ///< "fn": no infinities, NaN is 0x7F and 0xFF.
  F8E5M2,
  Bool,
  I8,
  I16,
  I32,
  I64,
  U8,
  U16,
  U32,
  U64,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ4_NL,
  IQ4_XS,
};

inline constexpr unsigned numTensorTypes =
    static_cast<unsigned>(TensorType::IQ4_XS) + 1;

/// `BF16`, `Q4_K`: as safetensors and ggml spell it.
llvm::StringRef name(TensorType type);

/// Elements of one block: 1, 32 or 256. A block runs along the innermost
/// dimension.
unsigned blockElements(TensorType type);

/// Bytes of one block.
unsigned blockBytes(TensorType type);

/// True for types that `dequantize` knows: all but booleans and integers.
bool holdsWeights(TensorType type);

/// Bytes of a tensor of `shape` (PyTorch order, no negative dimension), or
/// nothing if the innermost dimension is no multiple of the block or the size
/// does not fit in 63 bits.
std::optional<uint64_t> tensorBytes(TensorType type,
                                    llvm::ArrayRef<int64_t> shape);

/// `BF16`, `F8_E4M3`: the `dtype` of a safetensors header.
std::optional<TensorType> safeTensorsType(llvm::StringRef dtype);

/// ggml's number for a type. `ggmlTypeText` names also those that Sputnik does
/// not read: `IQ2_XXS`, `type 77`.
std::optional<TensorType> ggmlType(uint32_t number);
std::string ggmlTypeText(uint32_t number);

/// Writes `elements` values as f32. `src` needs no alignment; `elements` is a
/// multiple of blockElements(type), and holdsWeights(type) is true. F64 is
/// rounded; all other types are exact up to the rounding of the format's own
/// multiplications, done in f32 in the order of ggml's reference. The result
/// does not depend on the host.
void dequantize(TensorType type, const uint8_t *src, float *dst,
                size_t elements);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_TENSORTYPE_H
