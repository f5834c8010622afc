// Gate and up of experts go into one weight, whose experts start with a panel;
// the router keeps its precision; threads share experts and features.
// RUN: %sputnik-opt %s --r1-merge-linears | FileCheck %s --check-prefix=MERGE
// RUN: %sputnik-opt %s --r1-pipeline=scheme=q4 | FileCheck %s --check-prefix=ALL

module attributes {r1.target = #r1.target<"x86_64-linux-gnu", "znver4", "+avx512f", vector_bits = 512, vector_registers = 32, bf16_dot = avx512bf16, int8_dot = avx512vnni, l1 = 32768, l2 = 1048576, l3 = 33554432, cores = 2>} {
r1.weight @router : tensor<8x40xf32> from [#r1.origin<"m", 0, 1280, "F32">]
r1.weight @bias : tensor<8xf32> from [#r1.origin<"m", 0, 32, "F32">]
r1.weight @experts_gate : tensor<256x40xf32> from [#r1.origin<"m", 0, 40960, "F32">]
r1.weight @experts_up : tensor<256x40xf32> from [#r1.origin<"m", 0, 40960, "F32">]
r1.weight @experts_down : tensor<320x32xf32> from [#r1.origin<"m", 0, 40960, "F32">]
r1.weight @head : tensor<16x40xf32> from [#r1.origin<"m", 0, 2560, "F32">]
r1.weight @embed : tensor<16x40xf32> from [#r1.origin<"m", 0, 2560, "F32">]

// MERGE:      r1.derived @experts_gate_up : tensor<512x40xf32> {
// MERGE:        r1.concat %{{.*}}, %{{.*}} block 16 part 32 : (tensor<256x40xf32>, tensor<256x40xf32>) -> tensor<512x40xf32>
// MERGE:      r1.experts_up %{{.*}}, %{{.*}}, @experts_gate_up experts 8 block 16

// ALL-DAG:    r1.derived @router : tensor<8x40xf32, #r1.encoding<bf16, panel = 16, step = 2>>
// ALL-DAG:    r1.derived @experts_gate_up : tensor<512x40xf32, #r1.encoding<q4, panel = 16, step = 4>>
// ALL-DAG:    r1.concat %{{.*}} block 16 part 40 : (tensor<320x32xf32>) -> tensor<384x32xf32>
// ALL-LABEL:  func.func @decode
// ALL:          r1.linear %{{.*}}, @router precise : tensor<?x40xf32> -> tensor<?x8xf32>
// ALL:          r1.region "experts_up" partition(<experts, granule = 32>)
// ALL:            r1.experts_up %{{.*}} : tensor<?x40xi8>, tensor<?x2xi32> -> tensor<?x64xf32>
// ALL:          r1.region "experts_down" partition(<features, granule = 16>)
// ALL:            r1.experts_down %{{.*}} : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x40xf32>
func.func @forward(%tokens: tensor<?xi32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>, %outputs: tensor<?xi32>,
    %cache: !r1.kv_cache<layers = 1, heads = 1, dim = 16, element = f32, positions = 16>) -> tensor<?x16xf32> {
  %x = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x40xf32>
  %s = r1.linear %x, @router precise : tensor<?x40xf32> -> tensor<?x8xf32>
  %chosen, %factors = r1.route %s, @bias groups 2 keep 1 scale 1.0 : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %h = r1.experts_up %x, %chosen, @experts_gate up @experts_up experts 8 : tensor<?x40xf32>, tensor<?x2xi32> -> tensor<?x64xf32>
  %y = r1.experts_down %h, %chosen, %factors, @experts_down experts 8 : tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x40xf32>
  %z = r1.select_rows %y, %outputs : tensor<?x40xf32>, tensor<?xi32>
  %l = r1.linear %z, @head : tensor<?x40xf32> -> tensor<?x16xf32>
  return %l : tensor<?x16xf32>
}
}
