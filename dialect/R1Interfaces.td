//===- R1Interfaces.td - Interfaces of r1 ops ----------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_DIALECT_R1INTERFACES
#define SPUTNIK_DIALECT_R1INTERFACES

include "mlir/IR/OpBase.td"

def R1_GraphOpInterface : OpInterface<"GraphOpInterface"> {
  let cppNamespace = "::sputnik::r1";
  let description = [{
    What a pass may ask of an op of the graph, in place of which op it is.
  }];
  let methods = [
    InterfaceMethod<"How the op's result rows depend on its operand rows.",
      "::sputnik::r1::Locality", "getLocality">,
    InterfaceMethod<
      "Features of a head for an op that works on heads, 0 otherwise.",
      "int64_t", "getHeadSize", (ins), "", "return 0;">
  ];
}

def R1_WeightUserInterface : OpInterface<"WeightUserInterface"> {
  let cppNamespace = "::sputnik::r1";
  let description = [{
    An op that reads weights by symbol.
  }];
  let methods = [
    InterfaceMethod<"Appends the weights the op reads.",
      "void", "getWeights",
      (ins "::llvm::SmallVectorImpl<::mlir::FlatSymbolRefAttr> &":$weights)>,
    InterfaceMethod<"The layer whose weights are read, or null outside layers.",
      "::mlir::Value", "getLayerIndex">,
    InterfaceMethod<
      "The fraction of its weights that the op reads for one row.",
      "double", "getFractionRead", (ins), "", "return 1;">
  ];
}

def R1_ProductInterface : OpInterface<"ProductInterface"> {
  let cppNamespace = "::sputnik::r1";
  let description = [{
    An op that multiplies rows with matrices.
  }];
  let methods = [
    InterfaceMethod<"Appends the matrices, each a weight that the op reads.",
      "void", "getMatrices",
      (ins "::llvm::SmallVectorImpl<::mlir::FlatSymbolRefAttr> &":$matrices)>,
    InterfaceMethod<[{
        Equal parts that the rows of each matrix fall into, which kernels
        address one by one. A part may end in rows of zeros.
      }], "int64_t", "getMatrixParts", (ins), "", "return 1;">,
    InterfaceMethod<[{
        The operand whose rows a kernel also takes rounded to the type of a dot
        primitive; null if there is none.
      }], "::mlir::OpOperand *", "getRoundableRows", (ins), "",
      "return nullptr;">,
    InterfaceMethod<"Features of those rows that one inner product runs over.",
      "int64_t", "getInnerFeatures", (ins), "", "return 0;">
  ];
}

#endif // SPUTNIK_DIALECT_R1INTERFACES
