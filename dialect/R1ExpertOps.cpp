//===- R1ExpertOps.cpp - Mixtures of experts ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "dialect/R1.h"
#include "dialect/WeightUse.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik::r1;

Locality RouteOp::getLocality() { return Locality::RowWise; }
void RouteOp::getWeights(SmallVectorImpl<FlatSymbolRefAttr> &weights) {
  weights.push_back(getBiasAttr());
}
Value RouteOp::getLayerIndex() { return getLayer(); }
LogicalResult RouteOp::verify() {
  int64_t experts = features(getScores()), groups = getGroups();
  int64_t keep = getKeep(), chosen = features(getChosen());
  if (experts % groups || experts / groups < 2)
    return emitOpError("needs groups of two experts or more, found ")
           << experts << " experts in " << groups << " groups";
  if (keep > groups || chosen > keep * (experts / groups))
    return emitOpError("cannot choose ")
           << chosen << " experts of " << keep << " groups of "
           << experts / groups;
  if (features(getFactors()) != chosen)
    return emitOpError("chooses ") << chosen << " experts with "
                                   << features(getFactors()) << " factors";
  return success();
}
LogicalResult RouteOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, symbols, getBiasAttr(), getLayer(),
                      {features(getScores())});
}

Locality ExpertsUpOp::getLocality() { return Locality::Anchor; }
void ExpertsUpOp::getWeights(SmallVectorImpl<FlatSymbolRefAttr> &weights) {
  weights.push_back(getGateAttr());
  if (getUpAttr())
    weights.push_back(getUpAttr());
}
Value ExpertsUpOp::getLayerIndex() { return getLayer(); }
double ExpertsUpOp::getFractionRead() {
  return static_cast<double>(features(getChosen())) /
         static_cast<double>(getExperts());
}
void ExpertsUpOp::getMatrices(SmallVectorImpl<FlatSymbolRefAttr> &matrices) {
  getWeights(matrices);
}
int64_t ExpertsUpOp::getMatrixParts() { return getExperts(); }
OpOperand *ExpertsUpOp::getRoundableRows() { return &getInputMutable(); }
int64_t ExpertsUpOp::getInnerFeatures() { return features(getInput()); }
LogicalResult ExpertsUpOp::verify() {
  if (features(getResult()) % features(getChosen()))
    return emitOpError("gives ") << features(getResult()) << " features in "
                                 << features(getChosen()) << " slots";
  if (static_cast<bool>(getUpAttr()) == getBlock().has_value())
    return emitOpError("needs either up or a block");
  return success();
}
LogicalResult ExpertsUpOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t rows = getSlotFeatures();
  if (getBlock())
    rows = 2 * llvm::alignTo(rows, *getBlock());
  if (failed(verifyWeight(*this, symbols, getGateAttr(), getLayer(),
                          {rows, features(getInput())}, getExperts())))
    return failure();
  if (!getUpAttr())
    return success();
  return verifyWeight(*this, symbols, getUpAttr(), getLayer(),
                      {rows, features(getInput())}, getExperts());
}

Locality ExpertsDownOp::getLocality() { return Locality::Anchor; }
void ExpertsDownOp::getWeights(SmallVectorImpl<FlatSymbolRefAttr> &weights) {
  weights.push_back(getDownAttr());
}
Value ExpertsDownOp::getLayerIndex() { return getLayer(); }
double ExpertsDownOp::getFractionRead() {
  return static_cast<double>(features(getChosen())) /
         static_cast<double>(getExperts());
}
void ExpertsDownOp::getMatrices(SmallVectorImpl<FlatSymbolRefAttr> &matrices) {
  getWeights(matrices);
}
int64_t ExpertsDownOp::getMatrixParts() { return getExperts(); }
OpOperand *ExpertsDownOp::getRoundableRows() { return &getInputMutable(); }
int64_t ExpertsDownOp::getInnerFeatures() {
  return features(getInput()) / features(getChosen());
}
LogicalResult ExpertsDownOp::verify() {
  int64_t slots = features(getChosen());
  if (features(getInput()) % slots || features(getFactors()) != slots)
    return emitOpError("needs ")
           << slots << " equal slots and as many factors, found "
           << features(getInput()) << " features and "
           << features(getFactors()) << " factors";
  return success();
}
LogicalResult ExpertsDownOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, symbols, getDownAttr(), getLayer(),
                      {features(getResult()), getInnerFeatures()},
                      getExperts());
}
