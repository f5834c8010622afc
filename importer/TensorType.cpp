//===- TensorType.cpp - How files store numbers ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/TensorType.h"

#include "llvm/Support/Endian.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"

#include <bit>
#include <cassert>

// A fused multiply-add on some hosts and none on others would give different
// weights from the same file.
#pragma STDC FP_CONTRACT OFF

using namespace llvm;

namespace sputnik {
namespace {

struct TypeInfo {
  const char *name;
  uint16_t blockElements;
  uint16_t blockBytes;
  bool weights;
  int16_t ggml; ///< ggml's number, or -1.
};

/// In the order of TensorType.
constexpr TypeInfo typeInfos[] = {
    {"F32", 1, 4, true, 0},         {"F16", 1, 2, true, 1},
    {"BF16", 1, 2, true, 30},       {"F64", 1, 8, true, 28},
    {"F8_E4M3", 1, 1, true, -1},    {"F8_E5M2", 1, 1, true, -1},
    {"BOOL", 1, 1, false, -1},      {"I8", 1, 1, false, 24},
    {"I16", 1, 2, false, 25},       {"I32", 1, 4, false, 26},
    {"I64", 1, 8, false, 27},       {"U8", 1, 1, false, -1},
    {"U16", 1, 2, false, -1},       {"U32", 1, 4, false, -1},
    {"U64", 1, 8, false, -1},       {"Q4_0", 32, 18, true, 2},
    {"Q4_1", 32, 20, true, 3},      {"Q5_0", 32, 22, true, 6},
    {"Q5_1", 32, 24, true, 7},      {"Q8_0", 32, 34, true, 8},
    {"Q2_K", 256, 84, true, 10},    {"Q3_K", 256, 110, true, 11},
    {"Q4_K", 256, 144, true, 12},   {"Q5_K", 256, 176, true, 13},
    {"Q6_K", 256, 210, true, 14},   {"IQ4_NL", 32, 18, true, 20},
    {"IQ4_XS", 256, 136, true, 23},
};
static_assert(std::size(typeInfos) == numTensorTypes);

const TypeInfo &info(TensorType type) {
  return typeInfos[static_cast<unsigned>(type)];
}

uint16_t u16(const uint8_t *p) { return support::endian::read16le(p); }
uint32_t u32(const uint8_t *p) { return support::endian::read32le(p); }

/// Branch-free so that the loops around it vectorise on every host. The
/// multiplication moves the exponent and makes subnormals normal; it is exact.
float fromF16(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const float finite =
      std::bit_cast<float>(magnitude << 13) * std::bit_cast<float>(0x77800000u);
  const uint32_t special = 0x7f800000u | (magnitude & 0x3ffu) << 13;
  const uint32_t bits =
      magnitude >= 0x7c00u ? special : std::bit_cast<uint32_t>(finite);
  return std::bit_cast<float>(bits | (half & 0x8000u) << 16);
}

float fromBF16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float fromF8E4M3(uint8_t byte) {
  const uint32_t magnitude = byte & 0x7fu;
  const float finite =
      std::bit_cast<float>(magnitude << 20) * std::bit_cast<float>(0x7b800000u);
  const uint32_t bits =
      magnitude == 0x7fu ? 0x7fc00000u : std::bit_cast<uint32_t>(finite);
  return std::bit_cast<float>(bits | (byte & 0x80u) << 24);
}

float f16At(const uint8_t *p) { return fromF16(u16(p)); }

/// The code book of IQ4_NL and IQ4_XS.
constexpr int8_t iq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

template <unsigned bytes, typename Convert>
void plain(const uint8_t *src, float *dst, size_t elements, Convert convert) {
  for (size_t i = 0; i < elements; ++i)
    dst[i] = convert(src + bytes * i);
}

void blockQ4_0(const uint8_t *b, float *y) {
  const float d = f16At(b);
  for (int n = 0; n < 16; ++n) {
    y[n] = d * static_cast<float>((b[2 + n] & 15) - 8);
    y[n + 16] = d * static_cast<float>((b[2 + n] >> 4) - 8);
  }
}

void blockQ4_1(const uint8_t *b, float *y) {
  const float d = f16At(b), m = f16At(b + 2);
  for (int n = 0; n < 16; ++n) {
    y[n] = d * static_cast<float>(b[4 + n] & 15) + m;
    y[n + 16] = d * static_cast<float>(b[4 + n] >> 4) + m;
  }
}

void blockQ5_0(const uint8_t *b, float *y) {
  const float d = f16At(b);
  const uint32_t high = u32(b + 2);
  for (int n = 0; n < 16; ++n) {
    const int lo = (b[6 + n] & 15) | ((high >> n) & 1) << 4;
    const int hi = (b[6 + n] >> 4) | ((high >> (n + 16)) & 1) << 4;
    y[n] = d * static_cast<float>(lo - 16);
    y[n + 16] = d * static_cast<float>(hi - 16);
  }
}

void blockQ5_1(const uint8_t *b, float *y) {
  const float d = f16At(b), m = f16At(b + 2);
  const uint32_t high = u32(b + 4);
  for (int n = 0; n < 16; ++n) {
    const int lo = (b[8 + n] & 15) | ((high >> n) & 1) << 4;
    const int hi = (b[8 + n] >> 4) | ((high >> (n + 16)) & 1) << 4;
    y[n] = d * static_cast<float>(lo) + m;
    y[n + 16] = d * static_cast<float>(hi) + m;
  }
}

void blockQ8_0(const uint8_t *b, float *y) {
  const float d = f16At(b);
  for (int n = 0; n < 32; ++n)
    y[n] = d * static_cast<float>(static_cast<int8_t>(b[2 + n]));
}

void blockIQ4_NL(const uint8_t *b, float *y) {
  const float d = f16At(b);
  for (int n = 0; n < 16; ++n) {
    y[n] = d * static_cast<float>(iq4Values[b[2 + n] & 15]);
    y[n + 16] = d * static_cast<float>(iq4Values[b[2 + n] >> 4]);
  }
}

// In the 256-element formats, sub-block k = 8a + 2j + half covers elements
// 128a + 32j + 16half ...; its 2-bit parts are bits 2j of 32 bytes shared by
// the four j of one a.

void blockQ2_K(const uint8_t *b, float *y) {
  const uint8_t *scales = b, *q = b + 16;
  const float d = f16At(b + 80), dmin = f16At(b + 82);
  for (int k = 0; k < 16; ++k) {
    const int a = k / 8, j = k % 8 / 2, first = 32 * a + 16 * (k % 2);
    const float scale = d * static_cast<float>(scales[k] & 15);
    const float minimum = dmin * static_cast<float>(scales[k] >> 4);
    for (int l = 0; l < 16; ++l)
      y[16 * k + l] =
          scale * static_cast<float>((q[first + l] >> (2 * j)) & 3) - minimum;
  }
}

void blockQ3_K(const uint8_t *b, float *y) {
  const uint8_t *high = b, *q = b + 32, *s = b + 96;
  const float d = f16At(b + 108);
  for (int k = 0; k < 16; ++k) {
    const int a = k / 8, j = k % 8 / 2, first = 16 * (k % 2);
    const int bits = ((s[k % 8] >> (4 * (k / 8))) & 15) |
                     ((s[8 + k % 4] >> (2 * (k / 4))) & 3) << 4;
    const float scale = d * static_cast<float>(bits - 32);
    for (int l = 0; l < 16; ++l) {
      const int low = (q[32 * a + first + l] >> (2 * j)) & 3;
      const int offset = (high[first + l] >> (4 * a + j)) & 1 ? 0 : 4;
      y[16 * k + l] = scale * static_cast<float>(low - offset);
    }
  }
}

/// The 6-bit scale and minimum of sub-block `j` (0..7) of Q4_K and Q5_K.
struct ScaleMin {
  float scale, minimum;
};
ScaleMin scaleMin(const uint8_t *s, int j) {
  if (j < 4)
    return {static_cast<float>(s[j] & 63), static_cast<float>(s[j + 4] & 63)};
  return {static_cast<float>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4),
          static_cast<float>((s[j + 4] >> 4) | (s[j] >> 6) << 4)};
}

void blockQ4_K(const uint8_t *b, float *y) {
  const float d = f16At(b), dmin = f16At(b + 2);
  const uint8_t *q = b + 16;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = scaleMin(b + 4, j);
    const float scale = d * s.scale, minimum = dmin * s.minimum;
    for (int l = 0; l < 32; ++l) {
      const int v = (q[32 * (j / 2) + l] >> (4 * (j % 2))) & 15;
      y[32 * j + l] = scale * static_cast<float>(v) - minimum;
    }
  }
}

void blockQ5_K(const uint8_t *b, float *y) {
  const float d = f16At(b), dmin = f16At(b + 2);
  const uint8_t *high = b + 16, *q = b + 48;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = scaleMin(b + 4, j);
    const float scale = d * s.scale, minimum = dmin * s.minimum;
    for (int l = 0; l < 32; ++l) {
      const int v = ((q[32 * (j / 2) + l] >> (4 * (j % 2))) & 15) |
                    ((high[l] >> j) & 1) << 4;
      y[32 * j + l] = scale * static_cast<float>(v) - minimum;
    }
  }
}

void blockQ6_K(const uint8_t *b, float *y) {
  const uint8_t *low = b, *high = b + 128;
  const float d = f16At(b + 208);
  for (int k = 0; k < 16; ++k) {
    const int a = k / 8, j = k % 8 / 2, first = 16 * (k % 2);
    const float scale = d * static_cast<float>(static_cast<int8_t>(b[192 + k]));
    for (int l = 0; l < 16; ++l) {
      const int lo =
          (low[64 * a + 32 * (j % 2) + first + l] >> (4 * (j / 2))) & 15;
      const int hi = (high[32 * a + first + l] >> (2 * j)) & 3;
      y[16 * k + l] = scale * static_cast<float>((lo | hi << 4) - 32);
    }
  }
}

void blockIQ4_XS(const uint8_t *b, float *y) {
  const float d = f16At(b);
  const unsigned scaleHigh = u16(b + 2);
  const uint8_t *scaleLow = b + 4, *q = b + 8;
  for (int k = 0; k < 8; ++k) {
    const int bits = ((scaleLow[k / 2] >> (4 * (k % 2))) & 15) |
                     ((scaleHigh >> (2 * k)) & 3) << 4;
    const float scale = d * static_cast<float>(bits - 32);
    for (int l = 0; l < 16; ++l) {
      const uint8_t byte = q[16 * k + l];
      y[32 * k + l] = scale * static_cast<float>(iq4Values[byte & 15]);
      y[32 * k + l + 16] = scale * static_cast<float>(iq4Values[byte >> 4]);
    }
  }
}

template <void (*block)(const uint8_t *, float *)>
void blocks(TensorType type, const uint8_t *src, float *dst, size_t elements) {
  const unsigned step = blockElements(type), bytes = blockBytes(type);
  assert(elements % step == 0 && "a part of a block");
  for (size_t i = 0; i < elements; i += step, src += bytes)
    block(src, dst + i);
}

} // namespace

StringRef name(TensorType type) { return info(type).name; }
unsigned blockElements(TensorType type) { return info(type).blockElements; }
unsigned blockBytes(TensorType type) { return info(type).blockBytes; }
bool holdsWeights(TensorType type) { return info(type).weights; }

std::optional<uint64_t> tensorBytes(TensorType type, ArrayRef<int64_t> shape) {
  const int64_t block = blockElements(type);
  const int64_t inner = shape.empty() ? 1 : shape.back();
  if (inner % block != 0)
    return std::nullopt;
  int64_t bytes = inner / block;
  if (MulOverflow<int64_t>(bytes, blockBytes(type), bytes))
    return std::nullopt;
  if (!shape.empty())
    for (int64_t dim : shape.drop_back())
      if (MulOverflow(bytes, dim, bytes))
        return std::nullopt;
  return bytes;
}

std::optional<TensorType> safeTensorsType(StringRef dtype) {
  for (unsigned i = 0; i < static_cast<unsigned>(TensorType::Q4_0); ++i)
    if (dtype == typeInfos[i].name)
      return static_cast<TensorType>(i);
  return std::nullopt;
}

std::optional<TensorType> ggmlType(uint32_t number) {
  for (unsigned i = 0; i < numTensorTypes; ++i)
    if (typeInfos[i].ggml >= 0 &&
        static_cast<uint32_t>(typeInfos[i].ggml) == number)
      return static_cast<TensorType>(i);
  return std::nullopt;
}

std::string ggmlTypeText(uint32_t number) {
  if (std::optional<TensorType> type = ggmlType(number))
    return name(*type).str();
  switch (number) {
  case 9:
    return "Q8_1";
  case 15:
    return "Q8_K";
  case 16:
    return "IQ2_XXS";
  case 17:
    return "IQ2_XS";
  case 18:
    return "IQ3_XXS";
  case 19:
    return "IQ1_S";
  case 21:
    return "IQ3_S";
  case 22:
    return "IQ2_S";
  case 29:
    return "IQ1_M";
  case 34:
    return "TQ1_0";
  case 35:
    return "TQ2_0";
  case 39:
    return "MXFP4";
  default:
    return "type " + std::to_string(number);
  }
}

void dequantize(TensorType type, const uint8_t *src, float *dst,
                size_t elements) {
  switch (type) {
  case TensorType::F32:
    return plain<4>(src, dst, elements, [](const uint8_t *p) {
      return std::bit_cast<float>(u32(p));
    });
  case TensorType::F16:
    return plain<2>(src, dst, elements, f16At);
  case TensorType::BF16:
    return plain<2>(src, dst, elements,
                    [](const uint8_t *p) { return fromBF16(u16(p)); });
  case TensorType::F64:
    return plain<8>(src, dst, elements, [](const uint8_t *p) {
      return static_cast<float>(
          std::bit_cast<double>(support::endian::read64le(p)));
    });
  case TensorType::F8E4M3:
    return plain<1>(src, dst, elements,
                    [](const uint8_t *p) { return fromF8E4M3(*p); });
  case TensorType::F8E5M2:
    // The upper half of an f16.
    return plain<1>(src, dst, elements, [](const uint8_t *p) {
      return fromF16(static_cast<uint16_t>(*p << 8));
    });
  case TensorType::Q4_0:
    return blocks<blockQ4_0>(type, src, dst, elements);
  case TensorType::Q4_1:
    return blocks<blockQ4_1>(type, src, dst, elements);
  case TensorType::Q5_0:
    return blocks<blockQ5_0>(type, src, dst, elements);
  case TensorType::Q5_1:
    return blocks<blockQ5_1>(type, src, dst, elements);
  case TensorType::Q8_0:
    return blocks<blockQ8_0>(type, src, dst, elements);
  case TensorType::Q2_K:
    return blocks<blockQ2_K>(type, src, dst, elements);
  case TensorType::Q3_K:
    return blocks<blockQ3_K>(type, src, dst, elements);
  case TensorType::Q4_K:
    return blocks<blockQ4_K>(type, src, dst, elements);
  case TensorType::Q5_K:
    return blocks<blockQ5_K>(type, src, dst, elements);
  case TensorType::Q6_K:
    return blocks<blockQ6_K>(type, src, dst, elements);
  case TensorType::IQ4_NL:
    return blocks<blockIQ4_NL>(type, src, dst, elements);
  case TensorType::IQ4_XS:
    return blocks<blockIQ4_XS>(type, src, dst, elements);
  case TensorType::Bool:
  case TensorType::I8:
  case TensorType::I16:
  case TensorType::I32:
  case TensorType::I64:
  case TensorType::U8:
  case TensorType::U16:
  case TensorType::U32:
  case TensorType::U64:
    break;
  }
  llvm_unreachable("dequantize of a type that holds no weights");
}

} // namespace sputnik
