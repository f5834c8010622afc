//===- ReferenceProgram.h - Weight programs, one value at a time *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_WEIGHTS_REFERENCEPROGRAM_H
#define SPUTNIK_TEST_UNIT_WEIGHTS_REFERENCEPROGRAM_H

#include "dialect/R1.h"
#include "importer/Checkpoint.h"

#include <vector>

namespace sputnik::testing {

/// The image of `bytes` bytes that the placed weights of `module` make, by the
/// words of the ops' and attributes' descriptions.
std::vector<uint8_t> referenceImage(mlir::ModuleOp module,
                                    const Checkpoint &checkpoint,
                                    uint64_t bytes);

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_WEIGHTS_REFERENCEPROGRAM_H
