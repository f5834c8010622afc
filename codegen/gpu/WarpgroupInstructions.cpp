//===- WarpgroupInstructions.cpp - What sm_90a has alone ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After the PTX ISA: mbarrier, cp.async.bulk, wgmma.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/Kernel.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

//===----------------------------------------------------------------------===//
// Barriers in shared memory, and copies that they count
//===----------------------------------------------------------------------===//

Value Kernel::allocateBarriers(int64_t count) {
  return allocateShared(8 * count);
}

void Kernel::initBarrier(Value barrier, int64_t arrivals) {
  callPtx("mbarrier.init", {inShared(barrier), i32(static_cast<int32_t>(arrivals))},
          "mbarrier.init.shared::cta.b64 [$0], $1;", "l,r");
}

void Kernel::fenceBarriers() {
  callPtx("fence.mbarrier_init", {}, "fence.mbarrier_init.release.cluster;");
}

void Kernel::arrive(Value barrier) {
  callPtx("mbarrier.arrive", {inShared(barrier)},
          "mbarrier.arrive.shared::cta.b64 _, [$0];", "l");
}

void Kernel::arriveExpecting(Value barrier, Value bytes) {
  callPtx("mbarrier.arrive.expect_tx", {inShared(barrier), bytes},
          "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "l,r");
}

void Kernel::waitForPhase(Value barrier, Value parity) {
  callPtx("mbarrier.wait", {inShared(barrier), parity},
          "{ .reg .pred done; again: "
          "mbarrier.try_wait.parity.shared::cta.b64 done, [$0], $1; "
          "@!done bra again; }",
          "l,r");
}

void Kernel::copyBulk(Value to, Value from, Value bytes, Value barrier) {
  callPtx("cp.async.bulk",
          {inShared(to), inSpace(from, NVVM::NVVMMemorySpace::Global), bytes,
           inShared(barrier)},
          "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
          "[$0], [$1], $2, [$3];",
          "l,l,r,l");
}

void Kernel::fenceForProducts() {
  callPtx("fence.proxy.async", {}, "fence.proxy.async.shared::cta;");
}

void Kernel::setRegisters(int64_t count, bool more) {
  std::string name = llvm::formatv("setmaxnreg.{0}.{1}", more ? "inc" : "dec",
                                   count);
  callPtx(name, {},
          llvm::formatv("setmaxnreg.{0}.sync.aligned.u32 {1};",
                        more ? "inc" : "dec", count)
              .str());
}

//===----------------------------------------------------------------------===//
// Products of warpgroups
//===----------------------------------------------------------------------===//

Value Kernel::describeMatrix(Value ptr, const MatrixLayout &layout) {
  // Bits 0-13: the address, 16-29: `leading`, 32-45: `stride`, all in units of
  // 16 bytes; 62-63: the swizzle.
  auto units = [](int64_t bytes) { return static_cast<uint64_t>(bytes / 16); };
  uint64_t swizzle = layout.swizzle ? 4 - llvm::Log2_64(layout.swizzle / 16) : 0;
  uint64_t constant =
      units(layout.leading) << 16 | units(layout.stride) << 32 | swizzle << 62;
  Value address = LLVM::PtrToIntOp::create(
      b, loc, i64Type(), inShared(ptr));
  Value start = arith::ShRUIOp::create(
      b, loc, arith::AndIOp::create(b, loc, address, i64(0x3ffff)), i64(4));
  return arith::OrIOp::create(b, loc, start,
                              i64(static_cast<int64_t>(constant)));
}

SmallVector<Value> Kernel::callPtxOnSums(StringRef name, ValueRange sums,
                                         ValueRange others, StringRef assembly,
                                         StringRef constraints) {
  std::string all, tied;
  for (size_t i = 0; i < sums.size(); ++i) {
    all += i ? ",=f" : "=f";
    tied += "," + std::to_string(i);
  }
  all += tied;
  if (!constraints.empty())
    all += "," + constraints.str();
  SmallVector<Value> operands(sums);
  llvm::append_range(operands, others);
  Type result = LLVM::LLVMStructType::getLiteral(
      b.getContext(), SmallVector<Type>(sums.size(), f32Type()));
  Value registers =
      callPtx((name + "." + Twine(sums.size())).str(), result, operands,
              assembly, all, PtxEffect::Any);
  SmallVector<Value> values;
  for (size_t i = 0; i < sums.size(); ++i)
    values.push_back(LLVM::ExtractValueOp::create(
        b, loc, registers, static_cast<int64_t>(i)));
  return values;
}

void Kernel::fenceProducts() {
  callPtx("wgmma.fence", {}, "wgmma.fence.sync.aligned;");
}

SmallVector<Value> Kernel::startProduct(ValueRange a, Value matrixB,
                                        ValueRange sums, Major major,
                                        bool fromZero) {
  bool registers = a.size() > 1;
  size_t count = sums.size();
  std::string list;
  for (size_t i = 0; i < count; ++i)
    list += (i ? ", $" : "$") + std::to_string(i);
  // Operands are numbered behind the sums and those tied to them.
  auto operand = [&](size_t i) { return "$" + std::to_string(2 * count + i); };
  std::string left = operand(0);
  if (registers)
    left = "{" + operand(0) + ", " + operand(1) + ", " + operand(2) + ", " +
           operand(3) + "}";
  StringRef name = registers ? "wgmma.mma_async.registers"
                             : "wgmma.mma_async.shared";
  std::string assembly = llvm::formatv(
      "{{ .reg .pred p; setp.ne.b32 p, {0}, 0; "
      "wgmma.mma_async.sync.aligned.m64n{1}k16.f32.bf16.bf16 "
      "{{{2}}, {3}, {4}, p, 1, 1{5}, {6}; }",
      fromZero ? 0 : 1, 2 * count, list, left, operand(a.size()),
      registers ? "" : ", 0", major == Major::N ? 1 : 0);
  SmallVector<Value> others(a);
  others.push_back(matrixB);
  return callPtxOnSums((name + (major == Major::N ? ".n_major" : "") +
                        (fromZero ? ".from_zero" : ""))
                           .str(),
                       sums, others, assembly,
                       registers ? "r,r,r,r,l" : "l,l");
}

SmallVector<Value> Kernel::startProduct(ValueRange a, Value matrixB,
                                        ValueRange sums, Major major) {
  return startProduct(a, matrixB, sums, major, /*fromZero=*/false);
}

SmallVector<Value> Kernel::startFirstProduct(ValueRange a, Value matrixB,
                                             int64_t count, Major major) {
  SmallVector<Value> sums(count, LLVM::PoisonOp::create(b, loc, f32Type()));
  return startProduct(a, matrixB, sums, major, /*fromZero=*/true);
}

void Kernel::commitProducts() {
  callPtx("wgmma.commit_group", {}, "wgmma.commit_group.sync.aligned;");
}

void Kernel::waitForProducts(int64_t pending) {
  callPtx(llvm::formatv("wgmma.wait_group.{0}", pending).str(), {},
          llvm::formatv("wgmma.wait_group.sync.aligned {0};", pending).str());
}

SmallVector<Value> Kernel::finishProducts(ValueRange sums, int64_t pending) {
  return callPtxOnSums(
      llvm::formatv("wgmma.wait_group.sums.{0}", pending).str(), sums, {},
      llvm::formatv("wgmma.wait_group.sync.aligned {0};", pending).str(), "");
}
