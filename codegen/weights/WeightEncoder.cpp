//===- WeightEncoder.cpp - Values to the bytes of an encoding -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightEncoder.h"

#include "codegen/weights/BlockQuantizer.h"
#include "codegen/weights/Float8.h"
#include "importer/TensorType.h"

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
constexpr int64_t kFloat8Block = r1::kFloat8Block;

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
  case r1::Scheme::Q4: {
    Q4Row q4;
    for (; !values.empty(); values = values.drop_front(columns)) {
      quantizeQ4(values.take_front(columns), {}, q4);
      for (int64_t column = 0; column < columns; ++column)
        values[column] = q4.value(column);
    }
    return;
  }
  case r1::Scheme::Q8:
  case r1::Scheme::Q4Plain:
    for (; !values.empty(); values = values.drop_front(columns))
      for (int64_t column = 0; column < columns; column += kBlock) {
        float *block = values.data() + column;
        const int64_t count = std::min(kBlock, columns - column);
        const QuantizedBlock quantized = quantizeBlock(scheme, block, count);
        for (int64_t i = 0; i < count; ++i)
          block[i] = quantValue(scheme, quantized.quants[i]) * quantized.scale;
      }
    return;
  case r1::Scheme::FP8:
    for (; !values.empty(); values = values.drop_front(columns))
      for (int64_t column = 0; column < columns; column += kFloat8Block) {
        uint8_t bytes[kFloat8Block];
        MutableArrayRef<float> block =
            values.slice(column, std::min(kFloat8Block, columns - column));
        const float scale = quantizeFloat8(block, 0, bytes);
        dequantize(TensorType::F8E4M3, bytes, block.data(), block.size());
        for (float &value : block)
          value *= scale;
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
  rowScaleBytes = encoding.getRowScaleBytes();
  if (scaleBytes) {
    unitBytes = 4;
    blockBytes = encoding.getBlockBytes();
    blockCount = divideCeil(columns, encoding.getBlock());
    groupBlocks = encoding.getGroupBlocks();
    groupBytes = encoding.getGroupBytes();
    groupScaleBytes = encoding.getGroupScaleBytes();
    rowQuantBytes = blockCount * blockBytes / panel;
    rowScaleOffset = alignTo(rowQuantBytes + blockCount * scaleBytes, 4);
    rowBytes = rowScaleOffset + rowScaleBytes;
    panelScaleOffset = encoding.getRowScaleOffset(columns);
    bytesPerPanel = encoding.getPanelBytes(columns);
  } else {
    // The values of a vector lie one after another, whatever the step.
    const int64_t step = matrix ? encoding.getStep() : 1;
    unitBytes = step * (scheme == r1::Scheme::F32 ? 4 : 2);
    rowQuantBytes = rowScaleOffset = rowBytes =
        divideCeil(columns, step) * unitBytes;
    panelScaleOffset = bytesPerPanel = rowBytes * panel;
  }
  if (panel > 1 || scaleBytes)
    stored.resize(rowBytes * panel);
}

void WeightEncoder::storeRow(ArrayRef<float> values, ArrayRef<float> scales,
                             ArrayRef<float> importance, uint8_t *row) {
  switch (scheme) {
  case r1::Scheme::F32:
    std::memcpy(row, values.data(), columns * sizeof(float));
    return;
  case r1::Scheme::BF16:
    for (int64_t i = 0; i < columns; ++i) {
      const uint16_t value = toBFloat16(values[i]);
      std::memcpy(row + 2 * i, &value, sizeof(value));
    }
    return;
  case r1::Scheme::Q8:
  case r1::Scheme::Q4Plain:
    return storeBlocks(values, row);
  case r1::Scheme::FP8:
    return storeFloat8(values, scales, row);
  case r1::Scheme::Q4:
    quantizeQ4(values, importance, q4);
    for (size_t i = 0; i < q4.nibbles.size(); i += kBlock)
      packNibbles(q4.nibbles.data() + i, row + i / 2);
    std::memcpy(row + rowQuantBytes, q4.steps.data(), q4.steps.size());
    std::memcpy(row + rowScaleOffset, &q4.scale, sizeof(q4.scale));
    return;
  }
}

void WeightEncoder::storeBlocks(ArrayRef<float> values, uint8_t *row) {
  uint8_t *scales = row + rowQuantBytes;
  for (int64_t column = 0; column < columns; column += kBlock) {
    const QuantizedBlock block =
        quantizeBlock(scheme, values.data() + column,
                      std::min(kBlock, columns - column));
    if (scheme == r1::Scheme::Q8)
      std::memcpy(row + column, block.quants, kBlock);
    else
      packNibbles(block.quants, row + column / 2);
    std::memcpy(scales, &block.scale, sizeof(block.scale));
    scales += scaleBytes;
  }
}

void WeightEncoder::storeFloat8(ArrayRef<float> values, ArrayRef<float> scales,
                                uint8_t *row) {
  uint8_t *scaleAt = row + rowQuantBytes;
  for (int64_t column = 0; column < columns; column += kFloat8Block) {
    const int64_t count = std::min(kFloat8Block, columns - column);
    const ArrayRef<float> of =
        scales.empty() ? scales : scales.slice(column, count);
    const float known = !of.empty() && all_equal(of) ? of.front() : 0;
    const float scale =
        quantizeFloat8(values.slice(column, count), known, row + column);
    std::memcpy(scaleAt, &scale, sizeof(scale));
    scaleAt += scaleBytes;
  }
}

void WeightEncoder::loadRow(const uint8_t *row,
                            MutableArrayRef<float> values) {
  switch (scheme) {
  case r1::Scheme::F32:
    std::memcpy(values.data(), row, columns * sizeof(float));
    return;
  case r1::Scheme::BF16:
    for (int64_t i = 0; i < columns; ++i) {
      uint16_t value;
      std::memcpy(&value, row + 2 * i, sizeof(value));
      values[i] = fromBFloat16(value);
    }
    return;
  case r1::Scheme::Q8:
  case r1::Scheme::Q4Plain:
    return loadBlocks(row, values);
  case r1::Scheme::FP8:
    return loadFloat8(row, values);
  case r1::Scheme::Q4: {
    int8_t nibbles[kBlock];
    float scale;
    std::memcpy(&scale, row + rowScaleOffset, sizeof(scale));
    for (int64_t i = 0; i < columns; ++i) {
      if (i % kBlock == 0)
        unpackNibbles(row + i / 2, nibbles);
      values[i] = Q4Row::valueOf(
          nibbles[i % kBlock],
          static_cast<int8_t>(row[rowQuantBytes + i / kBlock]), scale);
    }
    return;
  }
  }
}

void WeightEncoder::loadBlocks(const uint8_t *row,
                               MutableArrayRef<float> values) {
  const uint8_t *scales = row + rowQuantBytes;
  for (int64_t column = 0; column < columns; column += kBlock) {
    int8_t block[kBlock];
    if (scheme == r1::Scheme::Q8)
      std::memcpy(block, row + column, kBlock);
    else
      unpackNibbles(row + column / 2, block);
    float scale;
    std::memcpy(&scale, scales, sizeof(scale));
    scales += scaleBytes;
    for (int64_t i = 0; i < std::min(kBlock, columns - column); ++i)
      values[column + i] = quantValue(scheme, block[i]) * scale;
  }
}

void WeightEncoder::loadFloat8(const uint8_t *row,
                               MutableArrayRef<float> values) {
  dequantize(TensorType::F8E4M3, row, values.data(), columns);
  for (int64_t i = 0; i < columns; ++i) {
    float scale;
    std::memcpy(&scale, row + rowQuantBytes + i / kFloat8Block * scaleBytes,
                sizeof(scale));
    values[i] *= scale;
  }
}

void WeightEncoder::encode(ArrayRef<float> values, int64_t rows,
                           MutableArrayRef<uint8_t> out,
                           ArrayRef<float> scales,
                           ArrayRef<float> importance) {
  for (int64_t row = 0; row < rows; row += panel)
    encodePanel(values.slice(row * columns),
                scales.empty() ? scales : scales.slice(row * columns),
                importance, std::min(panel, rows - row),
                out.data() + row / panel * bytesPerPanel);
}

void WeightEncoder::encodePanel(ArrayRef<float> values, ArrayRef<float> scales,
                                ArrayRef<float> importance, int64_t rows,
                                uint8_t *out) {
  const auto store = [&](int64_t r, uint8_t *row) {
    const int64_t first = r * columns;
    storeRow(values.slice(first, columns),
             scales.empty() ? scales : scales.slice(first, columns), importance,
             row);
  };
  if (stored.empty()) {
    std::memset(out, 0, rowBytes);
    return store(0, out);
  }
  std::memset(stored.data(), 0, stored.size());
  for (int64_t r = 0; r < rows; ++r)
    store(r, stored.data() + r * rowBytes);
  std::memset(out, 0, bytesPerPanel);
  forEachUnit(panel, [&](uint64_t at, uint64_t from, auto bytes) {
    std::memcpy(out + at, stored.data() + from, bytes);
  });
}

template <typename Copy>
void WeightEncoder::forEachUnit(int64_t rows, Copy copy) const {
  // `units` times one unit of each row, in a panel and in `stored`.
  const auto interleaved = [&](uint64_t inPanel, uint64_t inRow,
                               uint64_t units, auto bytes) {
    for (uint64_t unit = 0; unit < units; ++unit)
      for (int64_t row = 0; row < rows; ++row)
        copy(inPanel + (unit * panel + row) * bytes,
             row * rowBytes + inRow + unit * bytes, bytes);
  };
  const auto ofSize = [&](uint64_t inPanel, uint64_t inRow, uint64_t units,
                          uint64_t bytes) {
    // Constants, so that the usual sizes are copied by one instruction.
    switch (bytes) {
    case 1:
      return interleaved(inPanel, inRow, units,
                         std::integral_constant<uint64_t, 1>());
    case 2:
      return interleaved(inPanel, inRow, units,
                         std::integral_constant<uint64_t, 2>());
    case 4:
      return interleaved(inPanel, inRow, units,
                         std::integral_constant<uint64_t, 4>());
    default:
      return interleaved(inPanel, inRow, units, bytes);
    }
  };
  if (!scaleBytes)
    return ofSize(0, 0, rowQuantBytes / unitBytes, unitBytes);
  const uint64_t inRow = blockBytes / panel;
  for (int64_t block = 0; block < blockCount; ++block) {
    const uint64_t group = block / groupBlocks * groupBytes;
    const int64_t inGroup = block % groupBlocks;
    ofSize(group + inGroup * panel * scaleBytes,
           rowQuantBytes + block * scaleBytes, 1, scaleBytes);
    ofSize(group + groupScaleBytes + inGroup * blockBytes, block * inRow,
           inRow / unitBytes, unitBytes);
  }
  if (rowScaleBytes)
    ofSize(panelScaleOffset, rowScaleOffset, 1, rowScaleBytes);
}

void WeightEncoder::decode(ArrayRef<uint8_t> bytes, int64_t rows,
                           MutableArrayRef<float> out) {
  for (int64_t row = 0; row < rows; row += panel)
    decodePanel(bytes.data() + row / panel * bytesPerPanel,
                std::min(panel, rows - row), out.slice(row * columns));
}

void WeightEncoder::decodePanel(const uint8_t *bytes, int64_t rows,
                                MutableArrayRef<float> out) {
  if (stored.empty())
    return loadRow(bytes, out.take_front(columns));
  forEachUnit(rows, [&](uint64_t at, uint64_t to, auto size) {
    std::memcpy(stored.data() + to, bytes + at, size);
  });
  for (int64_t r = 0; r < rows; ++r)
    loadRow(stored.data() + r * rowBytes, out.slice(r * columns, columns));
}

} // namespace sputnik
