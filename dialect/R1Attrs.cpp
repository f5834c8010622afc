//===- R1Attrs.cpp - Attributes and types of the r1 dialect ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "dialect/R1.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik::r1;

LogicalResult EncodingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   Scheme scheme, int64_t panel, int64_t step) {
  if (panel < 1 || panel > 256)
    return emitError() << "panel must be between 1 and 256, found " << panel;
  if (step < 1 || step > 64)
    return emitError() << "step must be between 1 and 64, found " << step;
  bool blocks = scheme != Scheme::F32 && scheme != Scheme::BF16;
  if (blocks && step != 4)
    return emitError() << "step of a block scheme must be 4, found " << step;
  return success();
}

int64_t EncodingAttr::getBlock() const {
  if (!getScaleBytes())
    return 0;
  return getScheme() == Scheme::FP8 ? kFloat8Block : kQuantBlock;
}

int64_t EncodingAttr::getScaleBytes() const {
  switch (getScheme()) {
  case Scheme::F32:
  case Scheme::BF16:
    return 0;
  case Scheme::Q4:
    return 1;
  case Scheme::Q8:
  case Scheme::Q4Plain:
  case Scheme::FP8:
    return 4;
  }
  llvm_unreachable("every scheme has a scale size");
}

int64_t EncodingAttr::getRowScaleBytes() const {
  return getScheme() == Scheme::Q4 ? 4 : 0;
}

int64_t EncodingAttr::getGroupBlocks() const {
  return getScheme() == Scheme::Q4 ? 4 : 1;
}

int64_t EncodingAttr::getBlockBytes() const {
  int64_t values = getBlock() * getPanel();
  bool nibbles = getScheme() == Scheme::Q4 || getScheme() == Scheme::Q4Plain;
  return nibbles ? values / 2 : values;
}

int64_t EncodingAttr::getGroupBytes() const {
  return getGroupScaleBytes() + getGroupBlocks() * getBlockBytes();
}

int64_t EncodingAttr::getRowScaleOffset(int64_t columns) const {
  int64_t blocks = llvm::divideCeil(columns, getBlock());
  int64_t groups = llvm::divideCeil(blocks, getGroupBlocks());
  return llvm::alignTo(
      groups * getGroupScaleBytes() + blocks * getBlockBytes(), 4);
}

int64_t EncodingAttr::getPanelBytes(int64_t columns) const {
  if (!getBlock())
    return llvm::alignTo(columns, getStep()) * getPanel() *
           (getScheme() == Scheme::F32 ? 4 : 2);
  int64_t bytes =
      getRowScaleOffset(columns) + getPanel() * getRowScaleBytes();
  return getPanel() > 1 ? llvm::alignTo(bytes, 64) : bytes;
}

int64_t EncodingAttr::getBytes(ArrayRef<int64_t> shape) const {
  int64_t columns = shape.size() == 2 ? shape[1] : 1;
  return llvm::divideCeil(shape[0], getPanel()) * getPanelBytes(columns);
}

LogicalResult TargetAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 StringRef triple, StringRef cpu,
                                 StringRef features, int64_t vectorBits,
                                 int64_t vectorRegisters, DotKind bf16Dot,
                                 IntDotKind int8Dot, int64_t l1, int64_t l2, int64_t l3,
                                 int64_t cores) {
  if (vectorBits < 128 || !llvm::isPowerOf2_64(vectorBits))
    return emitError() << "vector_bits must be a power of two of at least 128, "
                          "found "
                       << vectorBits;
  if (vectorRegisters < 8)
    return emitError() << "vector_registers must be at least 8, found "
                       << vectorRegisters;
  if (l1 <= 0 || l2 <= 0 || l3 < 0 || cores <= 0)
    return emitError() << "caches and cores must be positive";
  return success();
}

LogicalResult KVCacheType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t layers, int64_t heads, int64_t dim,
                                  Type element, int64_t positions,
                                  int64_t latent) {
  if (layers <= 0 || heads <= 0 || dim <= 0 || positions <= 0)
    return emitError() << "layers, heads, dim and positions must be positive";
  if (positions % kPanel)
    return emitError() << "positions must be a multiple of " << kPanel
                       << ", found " << positions;
  if (!element.isF32() && !element.isBF16() && !element.isInteger(8))
    return emitError() << "element must be f32, bf16 or i8, found " << element;
  if (element.isInteger(8) && !canQuantize(dim, latent))
    return emitError() << "i8 needs keys and values of a multiple of " << kPanel
                       << " features, found "
                       << (latent ? "latents" : std::to_string(dim));
  if (latent < 0 || latent > dim || (latent && heads != 1))
    return emitError() << "latent must be at most dim, with one head, found "
                       << latent << " of " << dim << " with " << heads
                       << " heads";
  return success();
}

EncodingAttr KVCacheType::getKeyEncoding() const {
  return isQuantized() ? EncodingAttr::get(getContext(), Scheme::Q8, kPanel,
                                           /*step=*/4)
                       : EncodingAttr();
}

int64_t KVCacheType::getKeyPanelBytes() const {
  if (EncodingAttr encoding = getKeyEncoding())
    return encoding.getPanelBytes(getDim());
  return kPanel * getDim() * getElement().getIntOrFloatBitWidth() / 8;
}

int64_t KVCacheType::getValuePanelBytes() const {
  int64_t values = kPanel * getDim() * getElement().getIntOrFloatBitWidth() / 8;
  return isQuantized() ? kPanel * 4 + values : values;
}

int64_t sputnik::r1::getRowBytes(RankedTensorType rows) {
  int64_t features = rows.getDimSize(1);
  if (!rows.getElementType().isInteger(8))
    return features * rows.getElementTypeBitWidth() / 8;
  int64_t blocks = llvm::divideCeil(features, kQuantBlock);
  return blocks * (kQuantBlock + 4) +
         4 * llvm::divideCeil(features, kActivationGroup);
}
