// Kernels that start early may use weights alone before they wait.
// RUN: %sputnik-opt %s --r1-gpu-verify-dependent-launch | FileCheck %s
// CHECK: llvm.func @early
// CHECK: llvm.func @late

llvm.mlir.global external @sputnik_shared() {addr_space = 3 : i32} : !llvm.array<0 x i8>
llvm.func @sputnik.ptx.griddepcontrol.wait()

llvm.func @early(%tokens: !llvm.ptr, %slots: !llvm.ptr, %positions: !llvm.ptr, %outputs: !llvm.ptr, %logits: !llvm.ptr, %weights: !llvm.ptr, %arena: !llvm.ptr) attributes {nvvm.kernel, r1.dependent_launch} {
  %thread = nvvm.read.ptx.sreg.tid.x : i32
  %size = llvm.mlir.constant(512 : i32) : i32
  %one = arith.constant 1 : i32
  %few = arith.cmpi ult, %thread, %size : i32
  scf.if %few {
    %at = llvm.getelementptr %weights[%thread] : (!llvm.ptr, i32) -> !llvm.ptr, i8
    %global = llvm.addrspacecast %at : !llvm.ptr to !llvm.ptr<1>
    nvvm.cp.async.bulk.prefetch %global, %size : !llvm.ptr<1>
  }
  %shared = llvm.mlir.addressof @sputnik_shared : !llvm.ptr<3>
  llvm.store %one, %shared : i32, !llvm.ptr<3>
  nvvm.griddepcontrol launch_dependents
  llvm.call @sputnik.ptx.griddepcontrol.wait() : () -> ()
  %word = llvm.load %tokens : !llvm.ptr -> i32
  llvm.store %word, %arena : i32, !llvm.ptr
  llvm.return
}

// Kernels that do not start early need not wait.
llvm.func @late(%tokens: !llvm.ptr, %slots: !llvm.ptr) attributes {nvvm.kernel} {
  %word = llvm.load %tokens : !llvm.ptr -> i32
  llvm.store %word, %slots : i32, !llvm.ptr
  llvm.return
}
