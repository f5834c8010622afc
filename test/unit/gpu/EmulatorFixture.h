//===- EmulatorFixture.h - A kernel as text in the emulator -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_GPU_EMULATORFIXTURE_H
#define SPUTNIK_TEST_UNIT_GPU_EMULATORFIXTURE_H

#include "codegen/gpu/emulator/Emulator.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"

#include <gtest/gtest.h>

namespace sputnik::testing {

inline const char *const emulatorDeclarations = R"(
@sputnik_shared = external addrspace(3) global [0 x i8], align 16
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.bar.warp.sync(i32)
declare i32 @llvm.nvvm.shfl.sync.bfly.i32(i32, i32, i32, i32)
declare i32 @llvm.nvvm.idp4a.s.s(i32, i32, i32)
declare i32 @llvm.nvvm.prmt(i32, i32, i32)
declare void @llvm.nvvm.cp.async.cg.shared.global.16.s(ptr addrspace(3), ptr addrspace(1), i32)
declare void @llvm.nvvm.cp.async.commit.group()
declare void @llvm.nvvm.cp.async.wait.group(i32)
declare {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3))
declare {i32, i32, i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3(ptr addrspace(3))
declare {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32, i32, i32, i32, i32, i32, float, float, float, float)
declare {i32, i32, i32, i32} @llvm.nvvm.mma.m16n8k32.row.col.s8(i32, i32, i32, i32, i32, i32, i32, i32, i32, i32)
)";

/// A kernel void @k(ptr %out, i32 %n) with some words of memory.
class EmulatorFixture : public ::testing::Test {
protected:
  /// Gives the error of creating the emulator or of the launch; "" for none.
  std::string run(const std::string &body, uint32_t blocks = 1,
                  uint32_t threads = 64, uint64_t seed = 0) {
    auto context = std::make_unique<llvm::LLVMContext>();
    llvm::SMDiagnostic diagnostic;
    auto module = llvm::parseAssemblyString(
        emulatorDeclarations + outside +
            ("define ptx_kernel void @k(ptr %out, i32 %n) {\n" + body +
             "\n  ret void\n}\n"),
        diagnostic, *context);
    EXPECT_TRUE(module) << diagnostic.getMessage().str();
    auto emulator =
        gpu::Emulator::create(std::move(module), std::move(context));
    if (!emulator)
      return toString(emulator.takeError());
    (*emulator)->setSeed(seed);
    (*emulator)->addBuffer("out", memory.data(), 4 * memory.size(), true);
    void *out = memory.data();
    int32_t n = 7;
    llvm::Error error = (*emulator)->launch(
        "k", {blocks, 1, threads, sharedBytes}, {&out, &n});
    return toString(std::move(error));
  }

  std::string outside; ///< Further declarations.
  uint64_t sharedBytes = 1024;
  std::vector<uint32_t> memory = std::vector<uint32_t>(64);
};

inline const std::string threadPtr = R"(
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %at = getelementptr i32, ptr %out, i32 %t
)";

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_GPU_EMULATORFIXTURE_H
