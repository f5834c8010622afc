// RUN: %sputnik-opt %s --verify-each --r1-pipeline="opt-level=0 scheme=bf16" | FileCheck %s --check-prefixes=CHECK,O0
// RUN: %sputnik-opt %s --verify-each --r1-pipeline="opt-level=3 scheme=bf16" | FileCheck %s --check-prefixes=CHECK,O3
// RUN: %sputnik-opt %s --verify-each --r1-pipeline="opt-level=3 scheme=f32" | FileCheck %s --check-prefix=F32
// RUN: %sputnik-opt %s --verify-each --r1-pipeline="opt-level=3 scheme=f32 overrides=head=bf16" | FileCheck %s --check-prefix=MIXED
// Levels 1 and 2 are level 3.
// RUN: %sputnik-opt %s --r1-pipeline="opt-level=3 scheme=bf16" -o %t.3
// RUN: %sputnik-opt %s --r1-pipeline="opt-level=1 scheme=bf16" | diff - %t.3
// RUN: %sputnik-opt %s --r1-pipeline="opt-level=2 scheme=bf16" | diff - %t.3
// One pass at a time gives the same.
// RUN: %sputnik-opt %s --r1-fold-norm-gains=scheme=bf16 --r1-merge-linears | %sputnik-opt --r1-encode-weights=scheme=bf16 \
// RUN:   | %sputnik-opt --r1-pack-weights | %sputnik-opt --r1-specialize-phases --r1-stage-activations \
// RUN:   | %sputnik-opt --r1-form-regions | %sputnik-opt --pass-pipeline="builtin.module(func.func(r1-partition))" \
// RUN:   | %sputnik-opt --r1-plan-memory --r1-place-weights | diff - %t.3

// A model of two layers with everything the importer writes: biases, head
// norms, an embedding that the head shares.

!cache = !r1.kv_cache<layers = 2, heads = 1, dim = 16, element = f32, positions = 64>
module attributes {r1.target = #r1.target<"x86_64-linux-gnu", "znver4", "+avx512bf16",
    vector_bits = 512, vector_registers = 32, bf16_dot = avx512bf16,
    l1 = 32768, l2 = 1048576, l3 = 33554432, cores = 2>} {
  r1.weight @embed : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
  r1.weight @attn_norm layers(2) : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">, #r1.origin<"m", 0, 64, "bf16">]
  r1.weight @attn_q layers(2) : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">, #r1.origin<"m", 0, 2048, "bf16">]
  r1.weight @attn_q_bias layers(2) : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">, #r1.origin<"m", 0, 64, "bf16">]
  r1.weight @attn_k layers(2) : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">, #r1.origin<"m", 0, 1024, "bf16">]
  r1.weight @attn_k_bias layers(2) : tensor<16xf32> from [#r1.origin<"m", 0, 32, "bf16">, #r1.origin<"m", 0, 32, "bf16">]
  r1.weight @attn_v layers(2) : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">, #r1.origin<"m", 0, 1024, "bf16">]
  r1.weight @attn_v_bias layers(2) : tensor<16xf32> from [#r1.origin<"m", 0, 32, "bf16">, #r1.origin<"m", 0, 32, "bf16">]
  r1.weight @q_norm layers(2) : tensor<16xf32> from [#r1.origin<"m", 0, 32, "bf16">, #r1.origin<"m", 0, 32, "bf16">]
  r1.weight @k_norm layers(2) : tensor<16xf32> from [#r1.origin<"m", 0, 32, "bf16">, #r1.origin<"m", 0, 32, "bf16">]
  r1.weight @attn_out layers(2) : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">, #r1.origin<"m", 0, 2048, "bf16">]
  r1.weight @ffn_norm layers(2) : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">, #r1.origin<"m", 0, 64, "bf16">]
  r1.weight @ffn_gate layers(2) : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">, #r1.origin<"m", 0, 2560, "bf16">]
  r1.weight @ffn_up layers(2) : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">, #r1.origin<"m", 0, 2560, "bf16">]
  r1.weight @ffn_down layers(2) : tensor<32x40xf32> from [#r1.origin<"m", 0, 2560, "bf16">, #r1.origin<"m", 0, 2560, "bf16">]
  r1.weight @norm : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">]
  r1.weight @head : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]

  func.func @forward(%tokens: tensor<?xi32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>,
                     %outputs: tensor<?xi32>, %cache: !cache) -> tensor<?x40xf32> {
    %table = r1.rope_table %positions frequencies [1.0, 0.5, 0.25, 0.1, 0.05, 0.01, 0.005, 0.001] magnitude 1.0
      : tensor<?xi32> -> tensor<?x16xf32>
    %0 = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x32xf32>
    %1 = r1.layers %0 count 2 first 0 : tensor<?x32xf32> {
    ^bb0(%layer: index, %x: tensor<?x32xf32>):
      %2 = r1.rms_norm %x, @attn_norm[%layer] eps 1.0e-6 : tensor<?x32xf32>
      %q = r1.linear %2, @attn_q[%layer] bias @attn_q_bias : tensor<?x32xf32> -> tensor<?x32xf32>
      %k = r1.linear %2, @attn_k[%layer] bias @attn_k_bias : tensor<?x32xf32> -> tensor<?x16xf32>
      %v = r1.linear %2, @attn_v[%layer] bias @attn_v_bias : tensor<?x32xf32> -> tensor<?x16xf32>
      %qn = r1.rms_norm %q, @q_norm[%layer] head_dim 16 eps 1.0e-6 : tensor<?x32xf32>
      %qr = r1.rope %qn, %table head_dim 16 : tensor<?x32xf32>, tensor<?x16xf32>
      %kn = r1.rms_norm %k, @k_norm[%layer] head_dim 16 eps 1.0e-6 : tensor<?x16xf32>
      %kr = r1.rope %kn, %table head_dim 16 : tensor<?x16xf32>, tensor<?x16xf32>
      r1.kv_append %cache[%layer] keys %kr : tensor<?x16xf32> values %v : tensor<?x16xf32> at %slots, %positions
        : !cache, tensor<?xi32>, tensor<?xi32>
      %a = r1.attention %qr, %cache[%layer] at %slots, %positions scale 0.25
        : tensor<?x32xf32>, !cache, tensor<?xi32>, tensor<?xi32>
      %o = r1.linear %a, @attn_out[%layer] : tensor<?x32xf32> -> tensor<?x32xf32>
      %x1 = r1.add %x, %o : tensor<?x32xf32>
      %3 = r1.rms_norm %x1, @ffn_norm[%layer] eps 1.0e-6 : tensor<?x32xf32>
      %g = r1.linear %3, @ffn_gate[%layer] : tensor<?x32xf32> -> tensor<?x40xf32>
      %u = r1.linear %3, @ffn_up[%layer] : tensor<?x32xf32> -> tensor<?x40xf32>
      %s = r1.swiglu %g, %u : tensor<?x40xf32>
      %d = r1.linear %s, @ffn_down[%layer] : tensor<?x40xf32> -> tensor<?x32xf32>
      %x2 = r1.add %x1, %d : tensor<?x32xf32>
      r1.yield %x2 : tensor<?x32xf32>
    }
    %4 = r1.select_rows %1, %outputs : tensor<?x32xf32>, tensor<?xi32>
    %5 = r1.rms_norm %4, @norm eps 1.0e-6 : tensor<?x32xf32>
    %6 = r1.linear %5, @head : tensor<?x32xf32> -> tensor<?x40xf32>
    return %6 : tensor<?x40xf32>
  }
}

// CHECK: r1.image_bytes
// O0: r1.derived @embed : tensor<40x32xf32, #r1.encoding<bf16>> at <offset = 0, stride = 0>
// O0: r1.derived @attn_q layers(2) : tensor<32x32xf32, #r1.encoding<bf16>> at
// O3: r1.derived @attn_q_k_v layers(2) : tensor<64x32xf32, #r1.encoding<bf16, panel = 16, step = 2>> at
// O3: r1.derived @ffn_gate_up layers(2) : tensor<96x32xf32, #r1.encoding<bf16, panel = 16, step = 2>> at
// CHECK-NOT: @forward

// CHECK-LABEL: func.func @decode
// CHECK-SAME: r1.arena_bytes = {{[0-9]+}} : i64, r1.phase = #r1.phase<decode, max_rows = 1>
// O0: r1.region "rms_norm" partition(<tokens>)
// O0: r1.region "linear" partition(<features>)
// O0: r1.region "kv_append" partition(<tokens>) buffers([])

// O3:      r1.region "rope_table"
// O3:      r1.region "embed"
// O3:      r1.layers
// O3:        r1.region "attn_q_k_v" partition(<features, granule = 16>)
// O3-NEXT:     r1.rms_norm %{{.*}}, @attn_norm
// O3-NEXT:     r1.linear
// O3-NEXT:     r1.split
// O3-NEXT:     r1.rms_norm
// O3-NEXT:     r1.rope
// O3-NEXT:     r1.rms_norm
// O3-NEXT:     r1.rope
// O3-NEXT:     r1.kv_append
// O3-NEXT:     r1.yield
// O3:        r1.region "attention" partition(<heads_and_tokens>)
// O3:        r1.region "attn_out" partition(<features, granule = 16>)
// O3-NEXT:     r1.linear
// O3-NEXT:     r1.add
// O3:        r1.region "ffn_gate_up" partition(<features, granule = 32>)
// O3-NEXT:     r1.rms_norm
// O3-NEXT:     r1.linear
// O3-NEXT:     r1.split %{{.*}} block 16
// O3-NEXT:     r1.swiglu
// O3:        r1.region "ffn_down" partition(<features, granule = 16>)
// O3-NEXT:     r1.linear
// O3-NEXT:     r1.add
// O3:      r1.region "head" partition(<features, granule = 16>) buffers([#r1.buffer<offset = 0, stride = 160, logits = true>])
// O3-NEXT:   r1.select_rows
// O3-NEXT:   r1.rms_norm
// O3-NEXT:   r1.linear

// CHECK-LABEL: func.func @verify
// CHECK-SAME: #r1.phase<verify, max_rows = 8>

// CHECK-LABEL: func.func @prefill
// CHECK-SAME: #r1.phase<prefill, max_rows = 256>
// O0-NOT: r1.cast
// O3:        r1.region "rms_norm+cast" partition(<tokens>)
// O3:        r1.region "attn_q_k_v" partition(<features, granule = 16>)
// O3-NEXT:     r1.linear %{{.*}} : tensor<?x32xbf16> -> tensor<?x64xf32>
// O3:        r1.region "attention" partition(<heads_and_tokens>)
// O3-NEXT:     r1.attention
// O3-NEXT:     r1.cast
// O3:        r1.region "attn_out"
// O3:        r1.region "rms_norm+cast"
// O3:        r1.region "ffn_gate_up"
// O3:          r1.swiglu
// O3-NEXT:     r1.cast
// O3:        r1.region "ffn_down"
// O3:      r1.region "select_rows+rms_norm+cast"
// O3:      r1.region "head"
// CHECK: return

// In f32 gains are part of the weights.
// F32: r1.derived @attn_q_k_v layers(2) : tensor<64x32xf32, #r1.encoding<f32, panel = 16>>
// F32: r1.scale_columns
// F32-LABEL: func.func @decode
// F32: r1.rms_norm %{{.*}} eps
// F32-NOT: r1.cast

// MIXED: r1.derived @ffn_down layers(2) : tensor<32x40xf32, #r1.encoding<f32, panel = 16>>
// MIXED: r1.derived @head : tensor<40x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
// MIXED-NOT: r1.scale_columns
