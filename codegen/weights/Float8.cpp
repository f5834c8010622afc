//===- Float8.cpp - Rounding to 8-bit floats ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/Float8.h"

#include "codegen/weights/WideCode.h"
#include "dialect/R1.h"
#include "importer/TensorType.h"

#include <cmath>
#include <cstring>

#pragma STDC FP_CONTRACT OFF

using namespace llvm;

namespace sputnik {

SPUTNIK_WIDE static void roundAll(const float *values, size_t count,
                                  float scale, uint8_t *out) {
  for (size_t i = 0; i < count; ++i) {
    const float x = values[i] / scale;
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    const uint32_t sign = bits >> 24 & 0x80;
    float magnitude = __builtin_fabsf(x);
    magnitude = magnitude < kFloat8Largest ? magnitude : kFloat8Largest;
    std::memcpy(&bits, &magnitude, sizeof(bits));
    // Three bits of the significand stay; the exponent's bias is 7, not 127.
    const uint32_t normal =
        ((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - ((127 - 7) << 3);
    // Below the normal numbers the sum's last bit counts 2^-9, as E4M3's does.
    const float sum = magnitude + 0x1p14f;
    std::memcpy(&bits, &sum, sizeof(bits));
    const uint32_t subnormal = bits & 0xff;
    out[i] =
        static_cast<uint8_t>(sign | (magnitude < 0x1p-6f ? subnormal : normal));
  }
}

void toFloat8(ArrayRef<float> values, float scale, uint8_t *out) {
  roundAll(values.data(), values.size(), scale, out);
}

static bool stores(const uint8_t *bytes, float scale, ArrayRef<float> values) {
  float stored[r1::kFloat8Block];
  dequantize(TensorType::F8E4M3, bytes, stored, values.size());
  for (size_t i = 0; i < values.size(); ++i)
    if (stored[i] * scale != values[i])
      return false;
  return true;
}

float quantizeFloat8(ArrayRef<float> values, float known, uint8_t *out) {
  if (known != 0) {
    toFloat8(values, known, out);
    if (stores(out, known, values))
      return known;
  }
  float largest = 0;
  for (float value : values)
    largest = std::max(largest, std::abs(value));
  if (largest < 0x1p-100f) {
    std::memset(out, 0, values.size());
    return 0;
  }
  const float scale = largest / kFloat8Largest;
  toFloat8(values, scale, out);
  return scale;
}

} // namespace sputnik
