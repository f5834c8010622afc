//===- WeightShare.cpp - Which rows of weights threads read ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cpu/WeightShare.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::cpu;

int64_t WeightShare::getUnits() const {
  return llvm::divideCeil(partBytes, unitBytes);
}

std::optional<WeightShare>
sputnik::cpu::getWeightShare(r1::RegionOp region, r1::ProductInterface product,
                             FlatSymbolRefAttr matrix) {
  RankedTensorType type = r1::lookupWeightType(product, matrix);
  r1::EncodingAttr encoding = r1::getEncoding(type);
  r1::PartitionAttr partition = *region.getPartition();
  int64_t parts = product.getMatrixParts(), rows = type.getDimSize(0) / parts;
  if (!encoding || (parts > 1 && rows % encoding.getPanel()))
    return std::nullopt;
  auto weight = cast<r1::DerivedOp>(
      SymbolTable::lookupNearestSymbolFrom(product, matrix));
  int64_t bytes = encoding.getBytes(type.getShape());
  if (partition.getKind() == r1::SplitKind::Heads)
    return WeightShare{weight, 1, bytes, bytes / parts};
  bool byRows = partition.getKind() == r1::SplitKind::Features ||
                partition.getKind() == r1::SplitKind::Experts;
  int64_t granule = partition.getGranule();
  if (!byRows || granule % encoding.getPanel())
    return std::nullopt;
  return WeightShare{weight, parts, bytes / parts,
                     granule / encoding.getPanel() *
                         encoding.getPanelBytes(type.getDimSize(1))};
}

SmallVector<WeightShare>
sputnik::cpu::listWeightShares(ArrayRef<r1::RegionOp> regions) {
  SmallVector<WeightShare> shares;
  llvm::DenseSet<Operation *> seen;
  for (r1::RegionOp region : regions)
    for (auto product : region.getBody().getOps<r1::ProductInterface>()) {
      SmallVector<FlatSymbolRefAttr> matrices;
      product.getMatrices(matrices);
      for (FlatSymbolRefAttr matrix : matrices)
        if (auto share = getWeightShare(region, product, matrix);
            share && seen.insert(share->weight).second)
          shares.push_back(*share);
    }
  return shares;
}
