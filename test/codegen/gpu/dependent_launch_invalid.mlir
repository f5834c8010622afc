// RUN: %sputnik-opt %s --r1-gpu-verify-dependent-launch --split-input-file --verify-diagnostics

llvm.func @sputnik.ptx.griddepcontrol.wait()
llvm.func @reads_activations(%tokens: !llvm.ptr, %slots: !llvm.ptr, %positions: !llvm.ptr, %outputs: !llvm.ptr, %logits: !llvm.ptr, %weights: !llvm.ptr, %arena: !llvm.ptr) attributes {nvvm.kernel, r1.dependent_launch} {
  %at = llvm.getelementptr %arena[64] : (!llvm.ptr) -> !llvm.ptr, i8
  // expected-error @below {{'llvm.load' op uses memory that is not a weight's, above the wait for the kernels before}}
  %word = llvm.load %at : !llvm.ptr -> i32
  llvm.call @sputnik.ptx.griddepcontrol.wait() : () -> ()
  llvm.store %word, %at : i32, !llvm.ptr
  llvm.return
}

// -----

llvm.func @sputnik.ptx.griddepcontrol.wait()
llvm.func @writes_weights(%tokens: !llvm.ptr, %slots: !llvm.ptr, %positions: !llvm.ptr, %outputs: !llvm.ptr, %logits: !llvm.ptr, %weights: !llvm.ptr, %arena: !llvm.ptr) attributes {nvvm.kernel, r1.dependent_launch} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  // expected-error @below {{'llvm.store' op uses memory that is not a weight's}}
  llvm.store %zero, %weights : i32, !llvm.ptr
  llvm.call @sputnik.ptx.griddepcontrol.wait() : () -> ()
  llvm.return
}

// -----

// A token that chooses the weights was produced, too.
llvm.func @sputnik.ptx.griddepcontrol.wait()
llvm.func @sputnik.ptx.load.streamed.v4(!llvm.ptr) -> i32
llvm.func @chooses_weights(%tokens: !llvm.ptr, %slots: !llvm.ptr, %positions: !llvm.ptr, %outputs: !llvm.ptr, %logits: !llvm.ptr, %weights: !llvm.ptr, %arena: !llvm.ptr, %yes: i1) attributes {nvvm.kernel, r1.dependent_launch} {
  scf.if %yes {
    %some = llvm.call @sputnik.ptx.load.streamed.v4(%weights) : (!llvm.ptr) -> i32
    // expected-error @below {{'llvm.call' op uses memory that is not a weight's}}
    %token = llvm.call @sputnik.ptx.load.streamed.v4(%tokens) : (!llvm.ptr) -> i32
  }
  llvm.call @sputnik.ptx.griddepcontrol.wait() : () -> ()
  llvm.return
}

// -----

llvm.func @anything()
llvm.func @sputnik.ptx.griddepcontrol.wait()
llvm.func @calls(%tokens: !llvm.ptr, %slots: !llvm.ptr, %positions: !llvm.ptr, %outputs: !llvm.ptr, %logits: !llvm.ptr, %weights: !llvm.ptr, %arena: !llvm.ptr) attributes {nvvm.kernel, r1.dependent_launch} {
  // expected-error @below {{'llvm.call' op may use any memory, above the wait for the kernels before}}
  llvm.call @anything() : () -> ()
  llvm.call @sputnik.ptx.griddepcontrol.wait() : () -> ()
  llvm.return
}

// -----

// expected-error @below {{starts before the kernels before it have ended and does not wait for them in its entry block}}
llvm.func @forgets(%tokens: !llvm.ptr, %slots: !llvm.ptr, %positions: !llvm.ptr, %outputs: !llvm.ptr, %logits: !llvm.ptr, %weights: !llvm.ptr) attributes {nvvm.kernel, r1.dependent_launch} {
  llvm.return
}
