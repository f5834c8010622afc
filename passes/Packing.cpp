//===- Packing.cpp - Layouts that a target's kernels read -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Packing.h"

using namespace sputnik::r1;

EncodingAttr sputnik::r1::getRowMajor(mlir::MLIRContext *context,
                                      Scheme scheme) {
  bool blocks = scheme != Scheme::F32 && scheme != Scheme::BF16;
  return EncodingAttr::get(context, scheme, /*panel=*/1,
                           /*step=*/blocks ? 4 : 1);
}

EncodingAttr sputnik::r1::choosePacking(mlir::MLIRContext *context,
                                        TargetAttr target, Scheme scheme) {
  // A GPU's thread loads 16 bytes of one row, so that a warp takes 512 bytes in
  // a row of addresses; 16 rows of 16 bytes are also what its matrix
  // instructions take. Block schemes lie the same way for all.
  if (target && target.isGPU() && scheme == Scheme::F32)
    return EncodingAttr::get(context, scheme, /*panel=*/16, /*step=*/4);
  if (target && target.isGPU() && scheme == Scheme::BF16)
    return EncodingAttr::get(context, scheme, /*panel=*/16, /*step=*/8);
  // 16 rows fill one 512-bit register of sums, two of 256 or four of 128 bits:
  // every target has kernels for that, and the oracle reads any layout. bf16
  // columns lie in pairs, which is what dot instructions take; without them a
  // pair is two f32 values after a shift and a mask; bytes lie in fours for
  // the same reasons.
  switch (scheme) {
  case Scheme::F32:
    return EncodingAttr::get(context, scheme, /*panel=*/16, /*step=*/1);
  case Scheme::BF16:
    return EncodingAttr::get(context, scheme, /*panel=*/16, /*step=*/2);
  case Scheme::Q8:
  case Scheme::Q4:
  case Scheme::Q4Plain:
  case Scheme::FP8:
    return EncodingAttr::get(context, scheme, /*panel=*/16, /*step=*/4);
  }
  llvm_unreachable("every scheme has a packing");
}
