//===- Targets.cpp - What --target names ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tools/Targets.h"

#include "codegen/cpu/Target.h"
#include "codegen/gpu/Chip.h"

using namespace sputnik;
using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;

/// This machine's GPU if it has one, else its CPU; and the CPU in any case.
static constexpr llvm::StringLiteral kNative = "native";
static constexpr llvm::StringLiteral kNativeCPU = "native-cpu";

Expected<SmallVector<r1::TargetAttr>>
sputnik::getTargets(StringRef names, mlir::MLIRContext &context) {
  SmallVector<r1::TargetAttr> targets;
  if (names == kNative)
    if (StringRef chip = gpu::getNativeChip(); !chip.empty())
      names = chip;
  if (names == kNativeCPU)
    names = kNative;
  if (!gpu::isChipName(names)) {
    Expected<r1::TargetAttr> target = cpu::getTarget(names, context);
    if (!target)
      return target.takeError();
    targets.push_back(*target);
    return targets;
  }
  SmallVector<StringRef> chips;
  names.split(chips, ',');
  for (StringRef chip : chips) {
    Expected<r1::TargetAttr> target = gpu::getTarget(chip, context);
    if (!target)
      return target.takeError();
    if (llvm::is_contained(targets, *target))
      return llvm::createStringError("--target: found '%s' twice",
                                     chip.str().c_str());
    targets.push_back(*target);
  }
  return targets;
}

void sputnik::printTargets(mlir::MLIRContext &context, llvm::raw_ostream &os) {
  cpu::printTargets(context, os);
  gpu::printTargets(os);
  if (StringRef chip = gpu::getNativeChip(); !chip.empty())
    os << "native is the GPU here, " << chip << "; native-cpu is the CPU.\n";
}
