// RUN: %sputnik-opt %s --split-input-file --verify-each --pass-pipeline="builtin.module(func.func(r1-partition))" | FileCheck %s

// Without regions there is nothing to do.
// CHECK-LABEL: func.func @no_regions
// CHECK-NOT: partition
func.func @no_regions(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %0 = r1.rms_norm %x eps 1.0e-6 : tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}

!packed = tensor<96x32xf32, #r1.encoding<f32, panel = 16>>
!rows = tensor<96x32xf32, #r1.encoding<f32>>
!cache = !r1.kv_cache<layers = 1, heads = 1, dim = 48, element = f32, positions = 64>
r1.weight @w : tensor<96x32xf32> from [#r1.origin<"m", 0, 6144, "bf16">]
r1.derived @packed : !packed {
  %0 = r1.read @w : tensor<96x32xf32>
  %1 = r1.encode %0 : tensor<96x32xf32> -> !packed
  r1.yield %1 : !packed
}
r1.derived @row_major : !rows {
  %0 = r1.read @w : tensor<96x32xf32>
  %1 = r1.encode %0 : tensor<96x32xf32> -> !rows
  r1.yield %1 : !rows
}

// CHECK-LABEL: func.func @regions
func.func @regions(%x: tensor<?x32xf32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>, %cache: !cache,
                   %layer: index) {
  // CHECK-NEXT: r1.region "panels" partition(<features, granule = 16>)
  %0 = r1.region "panels" -> (tensor<?x96xf32>) {
    %9 = r1.linear %x, @packed : tensor<?x32xf32> -> tensor<?x96xf32>
    r1.yield %9 : tensor<?x96xf32>
  }
  // CHECK: r1.region "row-major" partition(<features>)
  %1 = r1.region "row-major" -> (tensor<?x96xf32>) {
    %9 = r1.linear %x, @row_major : tensor<?x32xf32> -> tensor<?x96xf32>
    r1.yield %9 : tensor<?x96xf32>
  }
  // Whole heads of 48 features.
  // CHECK: r1.region "heads" partition(<features, granule = 48>)
  %2 = r1.region "heads" -> (tensor<?x96xf32>) {
    %9 = r1.linear %x, @packed : tensor<?x32xf32> -> tensor<?x96xf32>
    %10 = r1.rms_norm %9 head_dim 48 eps 1.0e-6 : tensor<?x96xf32>
    r1.yield %10 : tensor<?x96xf32>
  }
  // A panel of gate with its panel of up.
  // CHECK: r1.region "pairs" partition(<features, granule = 32>)
  %3 = r1.region "pairs" -> (tensor<?x48xf32>) {
    %9 = r1.linear %x, @packed : tensor<?x32xf32> -> tensor<?x96xf32>
    %g, %u = r1.split %9 block 16 : tensor<?x96xf32> -> tensor<?x48xf32>, tensor<?x48xf32>
    %10 = r1.swiglu %g, %u : tensor<?x48xf32>
    r1.yield %10 : tensor<?x48xf32>
  }
  // CHECK: r1.region "attention" partition(<heads_and_tokens>)
  %4 = r1.region "attention" -> (tensor<?x48xf32>) {
    %9 = r1.attention %3, %cache[%layer] at %slots, %positions scale 0.25
      : tensor<?x48xf32>, !cache, tensor<?xi32>, tensor<?xi32>
    r1.yield %9 : tensor<?x48xf32>
  }
  // CHECK: r1.region "rows" partition(<tokens>)
  %5 = r1.region "rows" -> (tensor<?x48xf32>) {
    %9 = r1.rms_norm %4 head_dim 48 eps 1.0e-6 : tensor<?x48xf32>
    r1.yield %9 : tensor<?x48xf32>
  }
  return
}

// -----

!latents = !r1.kv_cache<layers = 1, heads = 1, dim = 24, element = f32, positions = 64, latent = 16>
module attributes {r1.target = #r1.target<"x86_64-linux-gnu", "znver4", "+avx512f", vector_bits = 512, vector_registers = 32, bf16_dot = avx512bf16, int8_dot = avx512vnni, l1 = 32768, l2 = 1048576, l3 = 33554432, cores = 2>} {
r1.weight @k_b layers(1) : tensor<640x16xf32> from [#r1.origin<"m", 0, 20480, "bf16">]
r1.weight @k_b_absorbed layers(1) : tensor<640x16xf32> from [#r1.origin<"m", 0, 20480, "bf16">]
r1.weight @v_b layers(1) : tensor<640x16xf32> from [#r1.origin<"m", 0, 20480, "bf16">]

// 40 heads for 2 cores: those that one takes see the latents together, in whole
// vectors of 16. Keys and values of each head are formed by themselves.
// CHECK-LABEL: func.func @latents
func.func @latents(%query: tensor<?x640xf32>, %rotary: tensor<?x320xf32>, %slots: tensor<?xi32>,
                   %positions: tensor<?xi32>, %cache: !latents, %layer: index) {
  // CHECK-NEXT: r1.region "absorbed" partition(<heads, granule = 32>)
  %0 = r1.region "absorbed" -> (tensor<?x640xf32>) {
    %9 = r1.latent_attention %query, %rotary, %cache[%layer] keys @k_b_absorbed values @v_b
      at %slots, %positions scale 0.25 form absorbed
      : tensor<?x640xf32>, tensor<?x320xf32>, !latents, tensor<?xi32>, tensor<?xi32> -> tensor<?x640xf32>
    r1.yield %9 : tensor<?x640xf32>
  }
  // CHECK: r1.region "expanded" partition(<heads>)
  %1 = r1.region "expanded" -> (tensor<?x640xf32>) {
    %9 = r1.latent_attention %query, %rotary, %cache[%layer] keys @k_b values @v_b
      at %slots, %positions scale 0.25
      : tensor<?x640xf32>, tensor<?x320xf32>, !latents, tensor<?xi32>, tensor<?xi32> -> tensor<?x640xf32>
    r1.yield %9 : tensor<?x640xf32>
  }
  return
}
}
