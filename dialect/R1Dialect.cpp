//===- R1Dialect.cpp - The r1 dialect -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "dialect/R1.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace sputnik::r1;

#include "dialect/R1Dialect.cpp.inc"
#include "dialect/R1Enums.cpp.inc"
#include "dialect/R1Interfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/R1Attrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialect/R1Types.cpp.inc"

void R1Dialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/R1Attrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialect/R1Types.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialect/R1Ops.cpp.inc"
      >();
}
