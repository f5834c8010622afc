//===- ImageSegment.cpp - Room for the embedded weights -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "runtime/Abi.h"

// Named by the linker, at an address out of reach of the code model's 32-bit
// references: only a 64-bit pointer in data may hold it, and volatile keeps the
// compiler from seeing through that pointer.
extern "C" const uint8_t sputnik_image[];
static const uint8_t *const volatile imageAddress = sputnik_image;

extern "C" const uint8_t *sputnik_image_address() { return imageAddress; }

// Room for program headers: the one of the image's segment is added after the
// link, where the table that the linker made cannot grow.
__attribute__((section(".sputnik.headers"), used, retain,
               aligned(8))) static const uint8_t headers[32 * 56] = {};
