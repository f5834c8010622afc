// RUN: %sputnik-opt %s --canonicalize | FileCheck %s

// Stacking one weight changes nothing, filling its last block up does.

r1.weight @w : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
// CHECK-LABEL: r1.derived @one
// CHECK-NEXT:    %[[W:.*]] = r1.read @w
// CHECK-NEXT:    r1.yield %[[W]]
r1.derived @one : tensor<40x32xf32> {
  %0 = r1.read @w : tensor<40x32xf32>
  %1 = r1.concat %0 : (tensor<40x32xf32>) -> tensor<40x32xf32>
  r1.yield %1 : tensor<40x32xf32>
}
// CHECK-LABEL: r1.derived @padded
// CHECK:         r1.concat
r1.derived @padded : tensor<48x32xf32> {
  %0 = r1.read @w : tensor<40x32xf32>
  %1 = r1.concat %0 block 16 : (tensor<40x32xf32>) -> tensor<48x32xf32>
  r1.yield %1 : tensor<48x32xf32>
}

// A split into one part and a cast to the same type are their operands.

// CHECK-LABEL: func.func @nothing_to_do
// CHECK-SAME:    %[[X:.*]]: tensor<?x32xf32>
// CHECK-NEXT:  return %[[X]]
func.func @nothing_to_do(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %0 = r1.split %x : tensor<?x32xf32> -> tensor<?x32xf32>
  %1 = r1.cast %0 : tensor<?x32xf32> -> tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}

// What nothing uses disappears, writes to the cache stay.

!cache = !r1.kv_cache<layers = 1, heads = 2, dim = 16, element = f32, positions = 64>
// CHECK-LABEL: func.func @unused
// CHECK-NEXT:  r1.kv_append
// CHECK-NEXT:  r1.region "append" {
// CHECK-NEXT:    r1.kv_append
// CHECK-NEXT:    r1.yield
// CHECK-NEXT:  }
// CHECK-NEXT:  return
func.func @unused(%x: tensor<?x32xf32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>, %cache: !cache,
                  %layer: index) {
  %0 = r1.rms_norm %x eps 1.0e-6 : tensor<?x32xf32>
  r1.kv_append %cache[%layer] keys %x : tensor<?x32xf32> at %slots, %positions
    : !cache, tensor<?xi32>, tensor<?xi32>
  %1 = r1.region "norm" -> (tensor<?x32xf32>) {
    %2 = r1.rms_norm %x eps 1.0e-6 : tensor<?x32xf32>
    r1.yield %2 : tensor<?x32xf32>
  }
  r1.region "append" {
    r1.kv_append %cache[%layer] keys %x : tensor<?x32xf32> at %slots, %positions
      : !cache, tensor<?xi32>, tensor<?xi32>
    r1.yield
  }
  return
}
