// RUN: %sputnik-opt %s | %sputnik-opt | FileCheck %s

// A one-layer model, as the importer writes it.

// CHECK: r1.weight @embed : tensor<40x32xf32> from [#r1.origin<"model.safetensors", 0, 2560, "bf16">]
r1.weight @embed : tensor<40x32xf32> from [#r1.origin<"model.safetensors", 0, 2560, "bf16">]
r1.weight @attn_norm layers(1) : tensor<32xf32> from [#r1.origin<"model.safetensors", 2560, 64, "bf16">]
r1.weight @q layers(1) : tensor<64x32xf32> from [#r1.origin<"model.safetensors", 3000, 4096, "bf16">]
r1.weight @q_bias layers(1) : tensor<64xf32> from [#r1.origin<"model.safetensors", 3000, 128, "bf16">]
r1.weight @k layers(1) : tensor<32x32xf32> from [#r1.origin<"model.safetensors", 3000, 2048, "bf16">]
r1.weight @v layers(1) : tensor<32x32xf32> from [#r1.origin<"model.safetensors", 3000, 2048, "bf16">]
r1.weight @q_norm layers(1) : tensor<16xf32> from [#r1.origin<"model.safetensors", 3000, 32, "bf16">]
r1.weight @o layers(1) : tensor<32x64xf32> from [#r1.origin<"model.safetensors", 3000, 4096, "bf16">]
r1.weight @ffn_norm layers(1) : tensor<32xf32> from [#r1.origin<"model.safetensors", 3000, 64, "bf16">]
r1.weight @gate layers(1) : tensor<48x32xf32> from [#r1.origin<"model.safetensors", 3000, 3072, "bf16">]
r1.weight @up layers(1) : tensor<48x32xf32> from [#r1.origin<"model.safetensors", 3000, 3072, "bf16">]
r1.weight @down layers(1) : tensor<32x48xf32> from [#r1.origin<"model.safetensors", 3000, 3072, "bf16">]
r1.weight @norm : tensor<32xf32> from [#r1.origin<"model.safetensors", 3000, 64, "bf16">]
r1.weight @head : tensor<40x32xf32> from [#r1.origin<"model.safetensors", 3000, 2560, "bf16">]

// CHECK-LABEL: func.func @forward
func.func @forward(%tokens: tensor<?xi32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>, %outputs: tensor<?xi32>,
                   %cache: !r1.kv_cache<layers = 1, heads = 2, dim = 16, element = f32, positions = 64>) -> tensor<?x40xf32> {
  // CHECK: r1.rope_table %{{.*}} frequencies [1.000000e+00, {{.*}}] magnitude 1.000000e+00
  %table = r1.rope_table %positions frequencies [1.0, 0.5, 0.25, 0.1, 0.05, 0.01, 0.005, 0.001] magnitude 1.0 : tensor<?xi32> -> tensor<?x16xf32>
  %0 = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x32xf32>
  // CHECK: r1.layers %{{.*}} count 1 first 0 : tensor<?x32xf32>
  %1 = r1.layers %0 count 1 first 0 : tensor<?x32xf32> {
  ^bb0(%layer: index, %x: tensor<?x32xf32>):
    %2 = r1.rms_norm %x, @attn_norm[%layer] eps 1.0e-6 : tensor<?x32xf32>
    // CHECK: r1.linear %{{.*}}, @q[%{{.*}}] bias @q_bias : tensor<?x32xf32> -> tensor<?x64xf32>
    %q = r1.linear %2, @q[%layer] bias @q_bias : tensor<?x32xf32> -> tensor<?x64xf32>
    %k = r1.linear %2, @k[%layer] : tensor<?x32xf32> -> tensor<?x32xf32>
    %v = r1.linear %2, @v[%layer] : tensor<?x32xf32> -> tensor<?x32xf32>
    %qn = r1.rms_norm %q, @q_norm[%layer] head_dim 16 eps 1.0e-6 : tensor<?x64xf32>
    %qr = r1.rope %qn, %table head_dim 16 : tensor<?x64xf32>, tensor<?x16xf32>
    %kr = r1.rope %k, %table head_dim 16 : tensor<?x32xf32>, tensor<?x16xf32>
    // CHECK: r1.kv_append %{{.*}}[%{{.*}}] keys %{{.*}} : tensor<?x32xf32> values %{{.*}} : tensor<?x32xf32> at
    r1.kv_append %cache[%layer] keys %kr : tensor<?x32xf32> values %v : tensor<?x32xf32> at %slots, %positions : !r1.kv_cache<layers = 1, heads = 2, dim = 16, element = f32, positions = 64>, tensor<?xi32>, tensor<?xi32>
    %a = r1.attention %qr, %cache[%layer] at %slots, %positions scale 0.25 : tensor<?x64xf32>, !r1.kv_cache<layers = 1, heads = 2, dim = 16, element = f32, positions = 64>, tensor<?xi32>, tensor<?xi32>
    %o = r1.linear %a, @o[%layer] : tensor<?x64xf32> -> tensor<?x32xf32>
    %x1 = r1.add %x, %o : tensor<?x32xf32>
    %3 = r1.rms_norm %x1, @ffn_norm[%layer] eps 1.0e-6 : tensor<?x32xf32>
    %g = r1.linear %3, @gate[%layer] : tensor<?x32xf32> -> tensor<?x48xf32>
    %u = r1.linear %3, @up[%layer] : tensor<?x32xf32> -> tensor<?x48xf32>
    %s = r1.swiglu %g, %u : tensor<?x48xf32>
    %d = r1.linear %s, @down[%layer] : tensor<?x48xf32> -> tensor<?x32xf32>
    %x2 = r1.add %x1, %d : tensor<?x32xf32>
    r1.yield %x2 : tensor<?x32xf32>
  }
  %4 = r1.select_rows %1, %outputs : tensor<?x32xf32>, tensor<?xi32>
  %5 = r1.rms_norm %4, @norm eps 1.0e-6 : tensor<?x32xf32>
  %6 = r1.linear %5, @head : tensor<?x32xf32> -> tensor<?x40xf32>
  return %6 : tensor<?x40xf32>
}
