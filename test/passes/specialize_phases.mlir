// RUN: %sputnik-opt %s --split-input-file --verify-diagnostics --r1-specialize-phases | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --verify-diagnostics --r1-specialize-phases="verify-rows=4 prefill-rows=64" \
// RUN:   | FileCheck %s --check-prefix=ROWS
// RUN: not %sputnik-opt %s --split-input-file --r1-specialize-phases=prefill-rows=0 2>&1 | FileCheck %s --check-prefix=NONE

// NONE: error: phases need at least one row, found verify-rows 8 and prefill-rows 0

// CHECK-NOT: @forward
// CHECK:      func.func @decode(%{{.*}}: tensor<?x4xf32>) -> tensor<?x4xf32> attributes {r1.phase = #r1.phase<decode, max_rows = 1>}
// CHECK-NEXT:   r1.rms_norm
// CHECK:      func.func @verify({{.*}}) -> tensor<?x4xf32> attributes {r1.phase = #r1.phase<verify, max_rows = 8>}
// CHECK-NEXT:   r1.rms_norm
// CHECK:      func.func @prefill({{.*}}) -> tensor<?x4xf32> attributes {r1.phase = #r1.phase<prefill, max_rows = 256>}
// CHECK-NEXT:   r1.rms_norm
// CHECK-NOT: @forward
// ROWS: #r1.phase<verify, max_rows = 4>
// ROWS: #r1.phase<prefill, max_rows = 64>
func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = r1.rms_norm %x eps 1.0e-6 : tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// -----

// Nothing to specialise.

// CHECK-LABEL: func.func @other
// CHECK-NOT: r1.phase
func.func @other(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}

// -----

// expected-error @+1 {{cannot specialise @forward: @verify is already defined}}
func.func @verify(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}
func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}

// -----

// A draft is made of rows that were checked or of a prompt.

// CHECK-NOT: @draft(
// CHECK: func.func @draft_verify({{.*}}) -> tensor<?x4xf32> attributes {r1.phase = #r1.phase<verify, max_rows = 8>}
// CHECK: func.func @draft_prefill({{.*}}) -> tensor<?x4xf32> attributes {r1.phase = #r1.phase<prefill, max_rows = 256>}
// CHECK-NOT: @draft(
func.func @draft(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}
