// RUN: sputnik-opt %s -split-input-file -r1-isolate="region=down" | FileCheck %s
// RUN: sputnik-opt %s -split-input-file -r1-isolate-region="region=norm number=2" | FileCheck %s --check-prefix=SECOND
// RUN: not sputnik-opt %s -split-input-file -r1-isolate-region="region=norm number=3" 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not sputnik-opt %s -split-input-file -r1-isolate-region="region=up" 2>&1 | FileCheck %s --check-prefix=UP

// The weights of the region are placed anew, and are made from no checkpoint.
// CHECK:      module attributes {r1.image_bytes = 8192 : i64}
// CHECK-NOT:  r1.weight
// CHECK:      r1.derived @down layers(2) : tensor<32x32xf32, #r1.encoding<f32>> at <offset = 0, stride = 4096> {
// CHECK-NEXT:   r1.zero : tensor<32x32xf32>
// CHECK-NOT:  @head

// What it reads of other regions lies where it did.
// CHECK:      func.func @decode(%{{.*}}: tensor<?xi32>, %{{.*}}: tensor<?xi32>, %{{.*}}: tensor<?xi32>, %{{.*}}: tensor<?xi32>, %{{[^:]*}}: !r1.kv_cache<{{[^>]*}}>,
// CHECK-SAME:   %[[STREAM:[^:]*]]: tensor<?x32xf32> {r1.buffer = #r1.buffer<offset = 0, stride = 128>}, %[[NORM:[^:]*]]: tensor<?x32xf32> {r1.buffer = #r1.buffer<offset = 128, stride = 128>})
// CHECK-SAME:   attributes {r1.arena_bytes = 256 : i64, r1.phase = #r1.phase<decode, max_rows = 1>}
// CHECK-NEXT: r1.layers %[[STREAM]] count 2 first 0
// CHECK-NEXT: ^bb0(%[[LAYER:.*]]: index, %[[X:.*]]: tensor<?x32xf32>):
// CHECK-NEXT:   r1.region "down" buffers([#r1.buffer<offset = 0, stride = 128>]) -> (tensor<?x32xf32>) {
// CHECK-NEXT:     %[[Y:.*]] = r1.linear %[[NORM]], @down[%[[LAYER]]]
// CHECK-NEXT:     r1.add %[[Y]], %[[X]]
// CHECK:        r1.yield %[[X]]
// CHECK:      return
// CHECK-NEXT: }

// A phase without the region is empty.
// CHECK:      func.func @prefill
// CHECK-NEXT:   return
// CHECK-NEXT: }

// Functions that are no phases stay.
// CHECK:      func.func @other
// CHECK-NEXT:   r1.region "down"

// Rows of outputs stay those, and the region may be in one phase only.
// SECOND:     func.func @decode({{.*}}, %[[IN:[^:]*]]: tensor<?x32xf32> {r1.buffer = #r1.buffer<offset = 128, stride = 128>, r1.outputs}) -> tensor<?x32xf32>
// SECOND-NEXT:  %[[OUT:.*]] = r1.region "norm" buffers([#r1.buffer<offset = 0, stride = 128, logits = true>])
// SECOND-NEXT:    r1.rms_norm %[[IN]]
// SECOND:       return %[[OUT]]
// SECOND:     func.func @prefill
// SECOND-NEXT:  return

// NONE: error: no phase has a region "norm" of number 3
// UP: error: no phase has a region "up" of number 1

r1.weight @down.source layers(2) : tensor<32x32xf32> from [#r1.origin<"f", 0, 4096, "f32">, #r1.origin<"f", 4096, 4096, "f32">]
r1.derived @down layers(2) : tensor<32x32xf32, #r1.encoding<f32>> at <offset = 4096, stride = 4096> {
  %0 = r1.read @down.source : tensor<32x32xf32>
  %1 = r1.encode %0 : tensor<32x32xf32> -> tensor<32x32xf32, #r1.encoding<f32>>
  r1.yield %1 : tensor<32x32xf32, #r1.encoding<f32>>
}
r1.weight @head.source : tensor<32x32xf32> from [#r1.origin<"f", 8192, 4096, "f32">]
r1.derived @head : tensor<32x32xf32, #r1.encoding<f32>> at <offset = 0, stride = 0> {
  %0 = r1.read @head.source : tensor<32x32xf32>
  %1 = r1.encode %0 : tensor<32x32xf32> -> tensor<32x32xf32, #r1.encoding<f32>>
  r1.yield %1 : tensor<32x32xf32, #r1.encoding<f32>>
}
func.func @decode(%tokens: tensor<?xi32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>, %outputs: tensor<?xi32>, %cache: !r1.kv_cache<layers = 2, heads = 1, dim = 16, element = f32, positions = 16>) -> tensor<?x32xf32>
    attributes {r1.arena_bytes = 256 : i64, r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.region "embed" buffers([#r1.buffer<offset = 0, stride = 128>]) -> (tensor<?x32xf32>) {
    %e = r1.embed %tokens, @head : tensor<?xi32> -> tensor<?x32xf32>
    r1.yield %e : tensor<?x32xf32>
  }
  %1 = r1.layers %0 count 2 first 0 : tensor<?x32xf32> {
  ^bb0(%layer: index, %x: tensor<?x32xf32>):
    %n = r1.region "norm" buffers([#r1.buffer<offset = 128, stride = 128>]) -> (tensor<?x32xf32>) {
      %a = r1.rms_norm %x eps 1.0e-06 : tensor<?x32xf32>
      r1.yield %a : tensor<?x32xf32>
    }
    %d = r1.region "down" buffers([#r1.buffer<offset = 0, stride = 128>]) -> (tensor<?x32xf32>) {
      %a = r1.linear %n, @down[%layer] : tensor<?x32xf32> -> tensor<?x32xf32>
      %b = r1.add %a, %x : tensor<?x32xf32>
      r1.yield %b : tensor<?x32xf32>
    }
    r1.yield %d : tensor<?x32xf32>
  }
  %2 = r1.region "select" buffers([#r1.buffer<offset = 128, stride = 128>]) -> (tensor<?x32xf32>) {
    %a = r1.select_rows %1, %outputs : tensor<?x32xf32>, tensor<?xi32>
    r1.yield %a : tensor<?x32xf32>
  }
  %3 = r1.region "norm" buffers([#r1.buffer<offset = 0, stride = 128, logits = true>]) -> (tensor<?x32xf32>) {
    %a = r1.rms_norm %2 eps 1.0e-06 : tensor<?x32xf32>
    r1.yield %a : tensor<?x32xf32>
  }
  return %3 : tensor<?x32xf32>
}
func.func @prefill(%tokens: tensor<?xi32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>, %outputs: tensor<?xi32>, %cache: !r1.kv_cache<layers = 2, heads = 1, dim = 16, element = f32, positions = 16>) -> tensor<?x32xf32>
    attributes {r1.arena_bytes = 256 : i64, r1.phase = #r1.phase<prefill, max_rows = 8>} {
  %0 = r1.region "norm" buffers([#r1.buffer<offset = 0, stride = 128, logits = true>]) -> (tensor<?x32xf32>) {
    %e = r1.embed %tokens, @head : tensor<?xi32> -> tensor<?x32xf32>
    r1.yield %e : tensor<?x32xf32>
  }
  return %0 : tensor<?x32xf32>
}
func.func @other(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %0 = r1.region "down" -> (tensor<?x32xf32>) {
    %a = r1.rms_norm %x eps 1.0e-06 : tensor<?x32xf32>
    r1.yield %a : tensor<?x32xf32>
  }
  return %0 : tensor<?x32xf32>
}
