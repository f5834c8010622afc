//===- WeightEncoder.h - Values to the bytes of an encoding -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_WEIGHTENCODER_H
#define SPUTNIK_CODEGEN_WEIGHTS_WEIGHTENCODER_H

#include "codegen/weights/BFloat16.h"
#include "dialect/R1.h"

#include <vector>

namespace sputnik {

/// Replaces values, rows of `columns` each, by what `scheme` stores of them.
void roundToScheme(r1::Scheme scheme, int64_t columns,
                   llvm::MutableArrayRef<float> values);

/// True if `scheme` can store all of `values`: none is NaN, infinite or gives
/// an infinity when it is rounded.
bool representable(r1::Scheme scheme, llvm::ArrayRef<float> values);

/// Lays rows of a weight out as the r1.encoding of its type says, and back.
class WeightEncoder {
public:
  explicit WeightEncoder(mlir::RankedTensorType type);

  /// Bytes of one panel of rows.
  uint64_t panelBytes() const { return bytesPerPanel; }

  /// Writes `rows` rows, the first of them at a panel's start, to `out`, which
  /// has room for whole panels. Missing rows and columns become zero; in `q4`,
  /// which has no zero, missing columns become the value 1 of the table.
  void encode(llvm::ArrayRef<float> values, int64_t rows,
              llvm::MutableArrayRef<uint8_t> out);

  /// Writes the values of the first `rows` rows that lie at `bytes`, whole
  /// panels, to `out`.
  void decode(llvm::ArrayRef<uint8_t> bytes, int64_t rows,
              llvm::MutableArrayRef<float> out);

private:
  void encodePanel(const float *values, int64_t rows, uint8_t *out);
  void decodePanel(const uint8_t *bytes, int64_t rows, float *out);
  void storeRow(const float *values, uint8_t *quants, uint8_t *scales) const;
  void loadRow(const uint8_t *quants, const uint8_t *scales,
               float *values) const;

  r1::Scheme scheme;
  int64_t columns, panel;
  /// Bytes of what lies together of one row: `step` columns, or 8 in `q4`.
  uint64_t unitBytes;
  uint64_t scaleBytes;
  /// Bytes of one row with its missing columns, without and with its scales.
  uint64_t rowQuantBytes, rowBytes;
  uint64_t bytesPerPanel;
  /// The rows of one panel, one after another.
  std::vector<uint8_t> stored;
};

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_WEIGHTENCODER_H
