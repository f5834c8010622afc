// RUN: %sputnik-opt %s | %sputnik-opt | FileCheck %s

r1.weight @bias : tensor<8xf32> from [#r1.origin<"m", 0, 32, "f32">]
// Four experts, each a tensor of its own.
// CHECK: r1.weight @gate layers(2) : tensor<96x32xf32> from [{{(#r1.origin<"m", [0-9]+, 3072, "f32">(, )?)+}}]
r1.weight @gate layers(2) : tensor<96x32xf32> from [
  #r1.origin<"m", 0, 3072, "f32">, #r1.origin<"m", 1, 3072, "f32">, #r1.origin<"m", 2, 3072, "f32">, #r1.origin<"m", 3, 3072, "f32">,
  #r1.origin<"m", 4, 3072, "f32">, #r1.origin<"m", 5, 3072, "f32">, #r1.origin<"m", 6, 3072, "f32">, #r1.origin<"m", 7, 3072, "f32">]
r1.weight @stored : tensor<192x32xf32> from [#r1.origin<"m", 0, 24576, "f32">]
r1.weight @scales : tensor<16x1xf32> from [#r1.origin<"m", 0, 64, "f32">]
r1.weight @down : tensor<256x24xf32> from [#r1.origin<"m", 0, 24576, "f32">]

// CHECK:      r1.derived @up : tensor<192x32xf32> {
// CHECK:        r1.block_scale %{{.*}}, %{{.*}} block [16, 128] part 24 : tensor<192x32xf32>, tensor<16x1xf32>
r1.derived @up : tensor<192x32xf32> {
  %0 = r1.read @stored : tensor<192x32xf32>
  %1 = r1.read @scales : tensor<16x1xf32>
  %2 = r1.block_scale %0, %1 block [16, 128] part 24 : tensor<192x32xf32>, tensor<16x1xf32>
  r1.yield %2 : tensor<192x32xf32>
}

// CHECK:      r1.derived @blocks : tensor<512x32xf32> {
// CHECK:        r1.concat %{{.*}}, %{{.*}} block 16 part 24 : (tensor<192x32xf32>, tensor<192x32xf32>) -> tensor<512x32xf32>
r1.derived @blocks : tensor<512x32xf32> {
  %0 = r1.read @up : tensor<192x32xf32>
  %1 = r1.concat %0, %0 block 16 part 24 : (tensor<192x32xf32>, tensor<192x32xf32>) -> tensor<512x32xf32>
  r1.yield %1 : tensor<512x32xf32>
}

// CHECK:      r1.slice_columns %{{.*}} first 8 : tensor<256x24xf32> -> tensor<256x16xf32>
r1.derived @columns : tensor<256x16xf32> {
  %0 = r1.read @down : tensor<256x24xf32>
  %1 = r1.slice_columns %0 first 8 : tensor<256x24xf32> -> tensor<256x16xf32>
  r1.yield %1 : tensor<256x16xf32>
}

// CHECK-LABEL: func.func @mixture
// CHECK-NEXT: %{{.*}}, %{{.*}} = r1.route %{{.*}}, @bias groups 4 keep 2 normalize scale 2.500000e+00 : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
// CHECK-NEXT: r1.experts_up %{{.*}}, %{{.*}}, @up up @up experts 8 : tensor<?x32xf32>, tensor<?x3xi32> -> tensor<?x72xf32>
// CHECK-NEXT: r1.experts_up %{{.*}}, %{{.*}}, @blocks experts 8 block 16 : tensor<?x32xf32>, tensor<?x3xi32> -> tensor<?x72xf32>
// CHECK-NEXT: r1.experts_down %{{.*}}, %{{.*}}, %{{.*}}, @down experts 8 : tensor<?x72xf32>, tensor<?x3xi32>, tensor<?x3xf32> -> tensor<?x32xf32>
func.func @mixture(%scores: tensor<?x8xf32>, %x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %chosen, %factors = r1.route %scores, @bias groups 4 keep 2 normalize scale 2.5 : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  %0 = r1.experts_up %x, %chosen, @up up @up experts 8 : tensor<?x32xf32>, tensor<?x3xi32> -> tensor<?x72xf32>
  %1 = r1.experts_up %x, %chosen, @blocks experts 8 block 16 : tensor<?x32xf32>, tensor<?x3xi32> -> tensor<?x72xf32>
  %2 = r1.experts_down %1, %chosen, %factors, @down experts 8 : tensor<?x72xf32>, tensor<?x3xi32>, tensor<?x3xf32> -> tensor<?x32xf32>
  return %2 : tensor<?x32xf32>
}
