//===- WeightEncoder.h - Values to the bytes of an encoding -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_WEIGHTENCODER_H
#define SPUTNIK_CODEGEN_WEIGHTS_WEIGHTENCODER_H

#include "codegen/weights/BFloat16.h"
#include "codegen/weights/Q4Quantizer.h"
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
  /// `scales`, of interest to `fp8` alone, has for each value the scale that it
  /// was stored with, 0 if there was none, or is empty. `importance`, of the
  /// columns or empty, is as quantizeQ4 takes it.
  void encode(llvm::ArrayRef<float> values, int64_t rows,
              llvm::MutableArrayRef<uint8_t> out,
              llvm::ArrayRef<float> scales = {},
              llvm::ArrayRef<float> importance = {});

  /// Writes the values of the first `rows` rows that lie at `bytes`, whole
  /// panels, to `out`.
  void decode(llvm::ArrayRef<uint8_t> bytes, int64_t rows,
              llvm::MutableArrayRef<float> out);

private:
  void encodePanel(llvm::ArrayRef<float> values, llvm::ArrayRef<float> scales,
                   llvm::ArrayRef<float> importance, int64_t rows,
                   uint8_t *out);
  void decodePanel(const uint8_t *bytes, int64_t rows,
                   llvm::MutableArrayRef<float> out);
  void storeRow(llvm::ArrayRef<float> values, llvm::ArrayRef<float> scales,
                llvm::ArrayRef<float> importance, uint8_t *row);
  void storeBlocks(llvm::ArrayRef<float> values, uint8_t *row);
  void storeFloat8(llvm::ArrayRef<float> values, llvm::ArrayRef<float> scales,
                   uint8_t *row);
  void loadRow(const uint8_t *row, llvm::MutableArrayRef<float> values);
  void loadBlocks(const uint8_t *row, llvm::MutableArrayRef<float> values);
  void loadFloat8(const uint8_t *row, llvm::MutableArrayRef<float> values);
  /// Calls copy(offset in a panel, offset in `stored`, bytes) for everything
  /// of the first `rows` rows that lies together in both.
  template <typename Copy> void forEachUnit(int64_t rows, Copy copy) const;

  r1::Scheme scheme;
  int64_t columns, panel;
  /// Bytes of what lies together of one row: `step` columns, or 8 in `q4`.
  uint64_t unitBytes;
  uint64_t scaleBytes, rowScaleBytes;
  /// Of a panel's blocks and groups, as r1.encoding counts them.
  uint64_t blockBytes, groupBytes, groupScaleBytes;
  int64_t groupBlocks, blockCount;
  /// Bytes of one row with its missing columns, up to its scales, up to the
  /// row's own scale, and with that.
  uint64_t rowQuantBytes, rowScaleOffset, rowBytes;
  /// Where in a panel the rows' own scales begin, and the panel's bytes.
  uint64_t panelScaleOffset, bytesPerPanel;
  /// The rows of one panel, one after another.
  std::vector<uint8_t> stored;
  Q4Row q4;
};

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_WEIGHTENCODER_H
