// RUN: %sputnik-opt %s | %sputnik-opt | FileCheck %s
// RUN: %sputnik-opt %s --emit-bytecode | %sputnik-opt | FileCheck %s

// Every op and attribute in its own spelling; graph.mlir has a whole model.

// CHECK: r1.image_bytes = 4096 : i64
// CHECK-SAME: r1.target = #r1.target<"x86_64-linux-gnu", "znver4", "+avx512bf16", vector_bits = 512, vector_registers = 32, bf16_dot = avx512bf16, l1 = 32768, l2 = 1048576, l3 = 33554432, cores = 2>
module attributes {r1.image_bytes = 4096 : i64, r1.target = #r1.target<"x86_64-linux-gnu", "znver4", "+avx512bf16",
    vector_bits = 512, vector_registers = 32, bf16_dot = avx512bf16,
    l1 = 32768, l2 = 1048576, l3 = 33554432, cores = 2>} {

// CHECK: r1.weight @q layers(2) : tensor<64x32xf32> from [#r1.origin<"a", 0, 4096, "bf16">, #r1.origin<"b", 8, 4096, "bf16">]
r1.weight @q layers(2) : tensor<64x32xf32> from [#r1.origin<"a", 0, 4096, "bf16">, #r1.origin<"b", 8, 4096, "bf16">]
// CHECK: r1.weight @gain : tensor<32xf32> from [#r1.origin<"a", 18446744073709551615, 64, "f32">]
r1.weight @gain : tensor<32xf32> from [#r1.origin<"a", 18446744073709551615, 64, "f32">]

// CHECK: r1.derived @program layers(2) : tensor<128x32xf32, #r1.encoding<bf16, panel = 16, step = 2>> at <offset = 64, stride = 4096> {
r1.derived @program layers(2) : tensor<128x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
    at #r1.placement<offset = 64, stride = 4096> {
  // CHECK-NEXT: %[[A:.*]] = r1.read @q : tensor<64x32xf32>
  %0 = r1.read @q : tensor<64x32xf32>
  // CHECK-NEXT: %[[B:.*]] = r1.unpermute %[[A]] head_dim 16 : tensor<64x32xf32>
  %1 = r1.unpermute %0 head_dim 16 : tensor<64x32xf32>
  // CHECK-NEXT: %[[G:.*]] = r1.read @gain : tensor<32xf32>
  %2 = r1.read @gain : tensor<32xf32>
  // CHECK-NEXT: %[[C:.*]] = r1.scale_columns %[[B]], %[[G]] : tensor<64x32xf32>, tensor<32xf32>
  %3 = r1.scale_columns %1, %2 : tensor<64x32xf32>, tensor<32xf32>
  // CHECK-NEXT: %[[D:.*]] = r1.concat %[[C]], %[[A]] block 16 : (tensor<64x32xf32>, tensor<64x32xf32>) -> tensor<128x32xf32>
  %4 = r1.concat %3, %0 block 16 : (tensor<64x32xf32>, tensor<64x32xf32>) -> tensor<128x32xf32>
  // CHECK-NEXT: %[[E:.*]] = r1.encode %[[D]] : tensor<128x32xf32> -> tensor<128x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
  %5 = r1.encode %4 : tensor<128x32xf32> -> tensor<128x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
  // CHECK-NEXT: r1.yield %[[E]] : tensor<128x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
  r1.yield %5 : tensor<128x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
}
// Defaults are not printed.
// CHECK: r1.derived @zeros : tensor<32xf32, #r1.encoding<f32>> {
r1.derived @zeros : tensor<32xf32, #r1.encoding<f32, panel = 1, step = 1>> {
  // CHECK-NEXT: r1.zero : tensor<32xf32>
  %0 = r1.zero : tensor<32xf32>
  %1 = r1.encode %0 : tensor<32xf32> -> tensor<32xf32, #r1.encoding<f32>>
  r1.yield %1 : tensor<32xf32, #r1.encoding<f32>>
}

// CHECK-LABEL: func.func @phase
// CHECK-SAME: r1.arena_bytes = 128 : i64, r1.phase = #r1.phase<verify, max_rows = 8>
func.func @phase(%x: tensor<?x64xf32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>,
                 %cache: !r1.kv_cache<layers = 2, heads = 2, dim = 16, element = bf16, positions = 64>,
                 %layer: index) -> (tensor<?x64xf32>, tensor<?x64xbf16>)
    attributes {r1.arena_bytes = 128 : i64, r1.phase = #r1.phase<verify, max_rows = 8>} {
  // Keys and values may be written apart.
  %0 = r1.rms_norm %x head_dim 32 eps 1.0e-6 : tensor<?x64xf32>
  %k, %v = r1.split %0 : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  // CHECK: r1.kv_append %{{.*}}[%{{.*}}] keys %{{.*}} : tensor<?x32xf32> at %{{.*}}, %{{.*}} : <layers = 2, heads = 2, dim = 16, element = bf16, positions = 64>, tensor<?xi32>, tensor<?xi32>
  r1.kv_append %cache[%layer] keys %k : tensor<?x32xf32> at %slots, %positions
    : !r1.kv_cache<layers = 2, heads = 2, dim = 16, element = bf16, positions = 64>, tensor<?xi32>, tensor<?xi32>
  // CHECK: r1.kv_append %{{.*}}[%{{.*}}] values %{{.*}} : tensor<?x32xf32> at
  r1.kv_append %cache[%layer] values %v : tensor<?x32xf32> at %slots, %positions
    : !r1.kv_cache<layers = 2, heads = 2, dim = 16, element = bf16, positions = 64>, tensor<?xi32>, tensor<?xi32>
  // CHECK: r1.region "two" partition(<features, granule = 32>) buffers([#r1.buffer<offset = 0, stride = 256>, #r1.buffer<offset = 0, stride = 128, logits = true>]) -> (tensor<?x64xf32>, tensor<?x64xbf16>) {
  %1:2 = r1.region "two" partition(#r1.partition<features, granule = 32>)
      buffers([#r1.buffer<offset = 0, stride = 256>, #r1.buffer<offset = 0, stride = 128, logits = true>])
      -> (tensor<?x64xf32>, tensor<?x64xbf16>) {
    %2 = r1.add %x, %0 : tensor<?x64xf32>
    %3 = r1.cast %2 : tensor<?x64xf32> -> tensor<?x64xbf16>
    r1.yield %2, %3 : tensor<?x64xf32>, tensor<?x64xbf16>
  }
  // CHECK: r1.region "none" partition(<heads_and_tokens>) attributes {note} {
  r1.region "none" partition(#r1.partition<heads_and_tokens>) attributes {note} {
    r1.yield
  }
  return %1#0, %1#1 : tensor<?x64xf32>, tensor<?x64xbf16>
}
}
