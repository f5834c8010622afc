// RUN: %sputnik-opt %s --verify-each --r1-encode-weights=scheme=bf16 --r1-pack-weights | FileCheck %s
// RUN: %sputnik-opt %s --verify-each --r1-encode-weights=scheme=f32 --r1-pack-weights | FileCheck %s --check-prefix=F32
// RUN: %sputnik-opt %s --verify-each --r1-encode-weights=scheme=q4 --r1-pack-weights | FileCheck %s --check-prefix=Q4

// For a GPU, 16 bytes of a row lie together: what a thread loads.
module attributes {r1.target = #r1.target<"nvptx64-nvidia-cuda", "sm_90a", "+ptx80",
    vector_bits = 128, vector_registers = 255, bf16_dot = wgmma, int8_dot = dp4a,
    l1 = 232448, l2 = 52428800, l3 = 0, cores = 132>} {
  // CHECK: r1.derived @head : tensor<24x32xf32, #r1.encoding<bf16, panel = 16, step = 8>>
  // F32: r1.derived @head : tensor<24x32xf32, #r1.encoding<f32, panel = 16, step = 4>>
  // Q4: r1.derived @head : tensor<24x32xf32, #r1.encoding<q4, panel = 16, step = 4>>
  r1.weight @head : tensor<24x32xf32> from [#r1.origin<"m", 0, 1536, "bf16">]
  func.func @f(%x: tensor<?x32xf32>) -> tensor<?x24xf32> {
    %0 = r1.linear %x, @head : tensor<?x32xf32> -> tensor<?x24xf32>
    return %0 : tensor<?x24xf32>
  }
}
