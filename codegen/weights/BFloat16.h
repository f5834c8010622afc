//===- BFloat16.h - Rounding to bf16 ----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_BFLOAT16_H
#define SPUTNIK_CODEGEN_WEIGHTS_BFLOAT16_H

#include <cstdint>
#include <cstring>

namespace sputnik {

/// Rounds to the nearest bf16, ties to even; a NaN stays one.
inline uint16_t toBFloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffff) > 0x7f800000)
    return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float fromBFloat16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_BFLOAT16_H
