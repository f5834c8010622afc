//===- VerifyDependentLaunch.cpp - Kernels that start early wait ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Kernel.h"
#include "codegen/gpu/Passes.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

namespace sputnik::gpu {
#define GEN_PASS_DEF_VERIFYDEPENDENTLAUNCHPASS
#include "codegen/gpu/Passes.h.inc"
} // namespace sputnik::gpu

static bool isWait(Operation &op) {
  auto call = dyn_cast<LLVM::CallOp>(op);
  std::optional<StringRef> callee = call ? call.getCallee() : std::nullopt;
  return callee && callee->consume_front(kPtxPrefix) &&
         *callee == kAwaitPrevious;
}

/// What an address is an offset from.
static Value getBase(Value ptr) {
  while (true) {
    if (auto offset = ptr.getDefiningOp<LLVM::GEPOp>())
      ptr = offset.getBase();
    else if (auto cast = ptr.getDefiningOp<LLVM::AddrSpaceCastOp>())
      ptr = cast.getArg();
    else
      return ptr;
  }
}

namespace {

class VerifyDependentLaunch
    : public sputnik::gpu::impl::VerifyDependentLaunchPassBase<
          VerifyDependentLaunch> {
  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<LLVM::LLVMFuncOp>())
      if (kernel->hasAttr(kDependentLaunchAttr) && failed(verify(kernel)))
        return signalPassFailure();
  }

  LogicalResult verify(LLVM::LLVMFuncOp kernel) {
    ++kernels;
    for (Operation &op : kernel.getBody().front()) {
      if (isWait(op))
        return success();
      WalkResult walk = op.walk([&](Operation *inner) -> WalkResult {
        return verifyEarly(kernel, inner);
      });
      if (walk.wasInterrupted())
        return failure();
    }
    return kernel.emitOpError("starts before the kernels before it have ended "
                              "and does not wait for them in its entry block");
  }

  LogicalResult verifyEarly(LLVM::LLVMFuncOp kernel, Operation *op) {
    if (isMemoryEffectFree(op) || op->getNumRegions())
      return success();
    if (auto call = dyn_cast<LLVM::CallOp>(op);
        call && !call.getCallee().value_or("").starts_with(kPtxPrefix))
      return op->emitOpError("may use any memory, above the wait for the "
                             "kernels before");
    bool weights = false;
    for (Value operand : op->getOperands()) {
      if (!isa<LLVM::LLVMPointerType>(operand.getType()))
        continue;
      Value base = getBase(operand);
      if (auto global = base.getDefiningOp<LLVM::AddressOfOp>();
          global && global.getGlobalName() == kSharedSymbol)
        continue;
      if (base != kernel.getArgument(kWeights) || isa<LLVM::StoreOp>(op))
        return op->emitOpError("uses memory that is not a weight's, above the "
                               "wait for the kernels before");
      weights = true;
    }
    early += weights;
    return success();
  }
};

} // namespace
