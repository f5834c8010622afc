//===- WeightEncoder.cpp - Values to the bytes of an encoding -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightEncoder.h"

#include "codegen/weights/BlockQuantizer.h"

#include "llvm/ADT/bit.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace llvm;

namespace sputnik {
namespace {

static_assert(endianness::native == endianness::little,
              "the image is written in the order of memory");

constexpr int64_t kBlock = r1::kQuantBlock;

/// Byte b of every four holds columns b and 4 + b of eight.
void packNibbles(const int8_t *quants, uint8_t *out) {
  for (int64_t i = 0; i < kBlock / 8; ++i)
    for (int64_t b = 0; b < 4; ++b)
      out[4 * i + b] = static_cast<uint8_t>(quants[8 * i + b] |
                                            quants[8 * i + 4 + b] << 4);
}

void unpackNibbles(const uint8_t *in, int8_t *quants) {
  for (int64_t i = 0; i < kBlock / 8; ++i)
    for (int64_t b = 0; b < 4; ++b) {
      quants[8 * i + b] = in[4 * i + b] & 15;
      quants[8 * i + 4 + b] = in[4 * i + b] >> 4;
    }
}

/// Calls copy(interleaved, row-major), both in bytes, for each unit of `rows`
/// rows of which `panel` are interleaved.
template <typename Copy>
void forEachUnit(int64_t rows, int64_t panel, int64_t units, uint64_t unitBytes,
                 uint64_t rowBytes, Copy copy) {
  for (int64_t unit = 0; unit < units; ++unit)
    for (int64_t row = 0; row < rows; ++row)
      copy((unit * panel + row) * unitBytes, row * rowBytes + unit * unitBytes);
}

/// Turns `panel` rows of `units` units each into `units` times one unit of each
/// row.
void interleave(const uint8_t *rows, int64_t panel, int64_t units,
                uint64_t unitBytes, uint64_t rowBytes, uint8_t *out) {
  const auto copy = [&](auto size) {
    forEachUnit(panel, panel, units, size, rowBytes,
                [&](uint64_t to, uint64_t from) {
                  std::memcpy(out + to, rows + from, size);
                });
  };
  switch (unitBytes) {
  case 2:
    return copy(std::integral_constant<uint64_t, 2>());
  case 4:
    return copy(std::integral_constant<uint64_t, 4>());
  case 8:
    return copy(std::integral_constant<uint64_t, 8>());
  default:
    return copy(unitBytes);
  }
}

} // namespace

void roundToScheme(r1::Scheme scheme, int64_t columns,
                   MutableArrayRef<float> values) {
  switch (scheme) {
  case r1::Scheme::F32:
    return;
  case r1::Scheme::BF16:
    for (float &value : values)
      value = fromBFloat16(toBFloat16(value));
    return;
  case r1::Scheme::Q8:
  case r1::Scheme::Q4:
  case r1::Scheme::Q4Plain:
    for (size_t row = 0; row < values.size(); row += columns)
      for (int64_t column = 0; column < columns; column += kBlock) {
        float *block = values.data() + row + column;
        const int64_t count = std::min(kBlock, columns - column);
        const QuantizedBlock quantized = quantizeBlock(scheme, block, count);
        for (int64_t i = 0; i < count; ++i)
          block[i] = quantValue(scheme, quantized.quants[i]) * quantized.scale;
      }
    return;
  }
}

bool representable(r1::Scheme scheme, ArrayRef<float> values) {
  // Magnitudes compare like their bits.
  uint32_t least = bit_cast<uint32_t>(std::numeric_limits<float>::infinity());
  if (scheme == r1::Scheme::BF16)
    least = 0x7f7f8000; // Half-way from the largest bf16 to infinity.
  else if (scheme != r1::Scheme::F32)
    least = bit_cast<uint32_t>(0x1p127f); // A scale may be rounded up.
  uint32_t found = 0;
  for (float value : values)
    found = std::max(found, bit_cast<uint32_t>(value) & 0x7fffffff);
  return found < least;
}

WeightEncoder::WeightEncoder(mlir::RankedTensorType type) {
  const r1::EncodingAttr encoding = r1::getEncoding(type);
  const bool matrix = type.getRank() == 2;
  scheme = encoding.getScheme();
  columns = matrix ? type.getDimSize(1) : 1;
  panel = encoding.getPanel();
  scaleBytes = encoding.getScaleBytes();
  if (scaleBytes) {
    unitBytes = 4;
    rowQuantBytes = encoding.getQuantBytes(columns) / panel;
    rowBytes = rowQuantBytes + divideCeil(columns, kBlock) * scaleBytes;
    bytesPerPanel = encoding.getPanelBytes(columns);
  } else {
    // The values of a vector lie one after another, whatever the step.
    const int64_t step = matrix ? encoding.getStep() : 1;
    unitBytes = step * (scheme == r1::Scheme::F32 ? 4 : 2);
    rowQuantBytes = rowBytes = divideCeil(columns, step) * unitBytes;
    bytesPerPanel = rowBytes * panel;
  }
  if (panel > 1)
    stored.resize(rowBytes * panel);
}

void WeightEncoder::storeRow(const float *values, uint8_t *quants,
                             uint8_t *scales) const {
  uint64_t valueBytes = rowQuantBytes;
  switch (scheme) {
  case r1::Scheme::F32:
    valueBytes = columns * sizeof(float);
    std::memcpy(quants, values, valueBytes);
    break;
  case r1::Scheme::BF16:
    valueBytes = columns * sizeof(uint16_t);
    for (int64_t i = 0; i < columns; ++i) {
      const uint16_t value = toBFloat16(values[i]);
      std::memcpy(quants + 2 * i, &value, sizeof(value));
    }
    break;
  case r1::Scheme::Q8:
  case r1::Scheme::Q4:
  case r1::Scheme::Q4Plain:
    for (int64_t column = 0; column < columns; column += kBlock) {
      const QuantizedBlock block = quantizeBlock(
          scheme, values + column, std::min(kBlock, columns - column));
      if (scheme == r1::Scheme::Q8)
        std::memcpy(quants + column, block.quants, kBlock);
      else
        packNibbles(block.quants, quants + column / 2);
      if (scheme == r1::Scheme::Q4) {
        const uint16_t scale = toBFloat16(block.scale);
        std::memcpy(scales, &scale, sizeof(scale));
      } else {
        std::memcpy(scales, &block.scale, sizeof(block.scale));
      }
      scales += scaleBytes;
    }
    break;
  }
  std::memset(quants + valueBytes, 0, rowQuantBytes - valueBytes);
}

void WeightEncoder::loadRow(const uint8_t *quants, const uint8_t *scales,
                            float *values) const {
  switch (scheme) {
  case r1::Scheme::F32:
    std::memcpy(values, quants, columns * sizeof(float));
    return;
  case r1::Scheme::BF16:
    for (int64_t i = 0; i < columns; ++i) {
      uint16_t value;
      std::memcpy(&value, quants + 2 * i, sizeof(value));
      values[i] = fromBFloat16(value);
    }
    return;
  case r1::Scheme::Q8:
  case r1::Scheme::Q4:
  case r1::Scheme::Q4Plain:
    for (int64_t column = 0; column < columns; column += kBlock) {
      int8_t block[kBlock];
      if (scheme == r1::Scheme::Q8)
        std::memcpy(block, quants + column, kBlock);
      else
        unpackNibbles(quants + column / 2, block);
      float scale;
      if (scheme == r1::Scheme::Q4) {
        uint16_t bits;
        std::memcpy(&bits, scales, sizeof(bits));
        scale = fromBFloat16(bits);
      } else {
        std::memcpy(&scale, scales, sizeof(scale));
      }
      scales += scaleBytes;
      for (int64_t i = 0; i < std::min(kBlock, columns - column); ++i)
        values[column + i] = quantValue(scheme, block[i]) * scale;
    }
    return;
  }
}

void WeightEncoder::encode(ArrayRef<float> values, int64_t rows,
                           MutableArrayRef<uint8_t> out) {
  for (int64_t row = 0; row < rows; row += panel)
    encodePanel(values.data() + row * columns, std::min(panel, rows - row),
                out.data() + row / panel * bytesPerPanel);
}

void WeightEncoder::encodePanel(const float *values, int64_t rows,
                                uint8_t *out) {
  uint8_t *row = panel > 1 ? stored.data() : out;
  for (int64_t r = 0; r < rows; ++r, row += rowBytes)
    storeRow(values + r * columns, row, row + rowQuantBytes);
  std::memset(row, 0, (panel - rows) * rowBytes);
  if (panel == 1)
    return;
  interleave(stored.data(), panel, rowQuantBytes / unitBytes, unitBytes,
             rowBytes, out);
  uint8_t *end = out + rowQuantBytes * panel;
  if (scaleBytes) {
    const uint64_t scales = (rowBytes - rowQuantBytes) / scaleBytes;
    interleave(stored.data() + rowQuantBytes, panel, scales, scaleBytes,
               rowBytes, end);
    end += scales * scaleBytes * panel;
  }
  std::memset(end, 0, out + bytesPerPanel - end);
}

void WeightEncoder::decode(ArrayRef<uint8_t> bytes, int64_t rows,
                           MutableArrayRef<float> out) {
  for (int64_t row = 0; row < rows; row += panel)
    decodePanel(bytes.data() + row / panel * bytesPerPanel,
                std::min(panel, rows - row), out.data() + row * columns);
}

void WeightEncoder::decodePanel(const uint8_t *bytes, int64_t rows,
                                float *out) {
  const uint8_t *row = bytes;
  if (panel > 1) {
    row = stored.data();
    forEachUnit(rows, panel, rowQuantBytes / unitBytes, unitBytes, rowBytes,
                [&](uint64_t from, uint64_t to) {
                  std::memcpy(stored.data() + to, bytes + from, unitBytes);
                });
    const uint8_t *scales = bytes + rowQuantBytes * panel;
    if (scaleBytes)
      forEachUnit(rows, panel, (rowBytes - rowQuantBytes) / scaleBytes,
                  scaleBytes, rowBytes, [&](uint64_t from, uint64_t to) {
                    std::memcpy(stored.data() + rowQuantBytes + to,
                                scales + from, scaleBytes);
                  });
  }
  for (int64_t r = 0; r < rows; ++r, row += rowBytes)
    loadRow(row, row + rowQuantBytes, out + r * columns);
}

} // namespace sputnik
