// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-place-weights | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-place-weights --r1-place-weights | FileCheck %s

// The order of first use in decode, whatever function comes first: head, then
// the loop, then embed. Offsets are multiples of 64; a matrix of 40 rows in
// panels of 16 takes 48.

!m = tensor<40x8xf32, #r1.encoding<bf16, panel = 16, step = 2>>
!t = tensor<40x8xf32, #r1.encoding<bf16>>
!v = tensor<8xf32, #r1.encoding<f32>>
// CHECK: module attributes {r1.image_bytes = 3840 : i64}
r1.weight @stored : tensor<40x8xf32> from [#r1.origin<"m", 0, 640, "bf16">]
r1.weight @gain : tensor<8xf32> from [#r1.origin<"m", 0, 16, "bf16">]
// CHECK: r1.derived @embed : {{.*}} at <offset = 3200, stride = 0>
r1.derived @embed : !t {
  %0 = r1.read @stored : tensor<40x8xf32>
  %1 = r1.encode %0 : tensor<40x8xf32> -> !t
  r1.yield %1 : !t
}
// Layers lie one after the other, each 768 bytes of @up, then a line of @norm.
// CHECK: r1.derived @norm layers(3) : {{.*}} at <offset = 1472, stride = 832>
r1.derived @norm layers(3) : !v {
  %0 = r1.read @gain : tensor<8xf32>
  %1 = r1.encode %0 : tensor<8xf32> -> !v
  r1.yield %1 : !v
}
// CHECK: r1.derived @up layers(3) : {{.*}} at <offset = 704, stride = 832>
r1.derived @up layers(3) : !m {
  %0 = r1.read @stored : tensor<40x8xf32>
  %1 = r1.encode %0 : tensor<40x8xf32> -> !m
  r1.yield %1 : !m
}
// CHECK: r1.derived @first : {{.*}} at <offset = 0, stride = 0>
r1.derived @first : !t {
  %0 = r1.read @stored : tensor<40x8xf32>
  %1 = r1.encode %0 : tensor<40x8xf32> -> !t
  r1.yield %1 : !t
}
// CHECK: r1.derived @final : {{.*}} at <offset = 640, stride = 0>
r1.derived @final : !v {
  %0 = r1.read @gain : tensor<8xf32>
  %1 = r1.encode %0 : tensor<8xf32> -> !v
  r1.yield %1 : !v
}
func.func @prefill(%tokens: tensor<?xi32>) -> tensor<?x8xf32>
    attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
  %0 = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
func.func @decode(%tokens: tensor<?xi32>) -> tensor<?x8xf32>
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.embed %tokens, @first : tensor<?xi32> -> tensor<?x8xf32>
  %1 = r1.rms_norm %0, @final eps 1.0e-6 : tensor<?x8xf32>
  %2 = r1.layers %1 count 3 first 0 : tensor<?x8xf32> {
  ^bb0(%layer: index, %y: tensor<?x8xf32>):
    %3 = r1.linear %y, @up[%layer] : tensor<?x8xf32> -> tensor<?x40xf32>
    %4 = r1.rms_norm %y, @norm[%layer] eps 1.0e-6 : tensor<?x8xf32>
    r1.yield %4 : tensor<?x8xf32>
  }
  return %2 : tensor<?x8xf32>
}

// -----

// A layer of more than 1 MB starts on a page.

!m = tensor<512x520xf32, #r1.encoding<f32, panel = 16>>
!v = tensor<8xf32, #r1.encoding<f32>>
r1.weight @stored : tensor<512x520xf32> from [#r1.origin<"m", 0, 532480, "bf16">]
r1.weight @gain : tensor<8xf32> from [#r1.origin<"m", 0, 16, "bf16">]
r1.derived @norm : !v {
  %0 = r1.read @gain : tensor<8xf32>
  %1 = r1.encode %0 : tensor<8xf32> -> !v
  r1.yield %1 : !v
}
// CHECK: r1.derived @up layers(2) : {{.*}} at <offset = 4096, stride = 1064960>
r1.derived @up layers(2) : !m {
  %0 = r1.read @stored : tensor<512x520xf32>
  %1 = r1.encode %0 : tensor<512x520xf32> -> !m
  r1.yield %1 : !m
}
func.func @decode(%x: tensor<?x8xf32>, %z: tensor<?x520xf32>) -> tensor<?x8xf32> {
  %0 = r1.rms_norm %x, @norm eps 1.0e-6 : tensor<?x8xf32>
  %1 = r1.layers %0 count 2 first 0 : tensor<?x8xf32> {
  ^bb0(%layer: index, %y: tensor<?x8xf32>):
    %3 = r1.linear %z, @up[%layer] : tensor<?x520xf32> -> tensor<?x512xf32>
    r1.yield %y : tensor<?x8xf32>
  }
  return %1 : tensor<?x8xf32>
}

// -----

// Nothing to place.

// CHECK: r1.image_bytes = 0 : i64
func.func @decode() {
  return
}
