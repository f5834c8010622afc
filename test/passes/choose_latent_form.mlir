// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-choose-latent-form | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-choose-latent-form --remarks-filter=r1-choose-latent-form \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK

// Expanding a position costs 24 * (16 + 8) multiply-adds and saves 24 a row.

!cache = !r1.kv_cache<layers = 2, heads = 1, dim = 32, element = f32, positions = 64, latent = 24>
r1.weight @k_b layers(2) : tensor<32x24xf32> from [#r1.origin<"m", 0, 3072, "f32">, #r1.origin<"m", 0, 3072, "f32">]
r1.weight @v_b layers(2) : tensor<16x24xf32> from [#r1.origin<"m", 0, 1536, "f32">, #r1.origin<"m", 0, 1536, "f32">]

// CHECK:      r1.derived @k_b_absorbed layers(2) : tensor<48x16xf32> {
// CHECK-NEXT:   %[[K:.*]] = r1.read @k_b : tensor<32x24xf32>
// CHECK-NEXT:   %[[T:.*]] = r1.transpose %[[K]] part 16 : tensor<32x24xf32> -> tensor<48x16xf32>
// CHECK-NEXT:   r1.yield %[[T]]
// CHECK-LABEL: func.func @decode
// CHECK:         r1.latent_attention {{.*}} keys @k_b_absorbed values @v_b {{.*}} form absorbed
// REMARK: [Passed] {{.*}}absorbed: expanding pays from 25 rows on, @decode has 1
func.func @decode(%q: tensor<?x32xf32>, %p: tensor<?x16xf32>, %c: !cache, %layer: index, %i: tensor<?xi32>)
    -> tensor<?x16xf32> attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.latent_attention %q, %p, %c[%layer] keys @k_b values @v_b at %i, %i scale 0.2
    : tensor<?x32xf32>, tensor<?x16xf32>, !cache, tensor<?xi32>, tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}
// CHECK-LABEL: func.func @prefill
// CHECK:         r1.latent_attention {{.*}} keys @k_b values @v_b
// CHECK-NOT:     form
// CHECK:         return
// REMARK: [Passed] {{.*}}expanded: it pays from 25 rows on, @prefill has 256
func.func @prefill(%q: tensor<?x32xf32>, %p: tensor<?x16xf32>, %c: !cache, %layer: index, %i: tensor<?xi32>)
    -> tensor<?x16xf32> attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
  %0 = r1.latent_attention %q, %p, %c[%layer] keys @k_b values @v_b at %i, %i scale 0.2
    : tensor<?x32xf32>, tensor<?x16xf32>, !cache, tensor<?xi32>, tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// Many rows or not, what checks guesses has the form of decode.
// CHECK-LABEL: func.func @verify
// CHECK:         r1.latent_attention {{.*}} keys @k_b_absorbed values @v_b {{.*}} form absorbed
// REMARK: [Passed] {{.*}}absorbed: expanding pays from 25 rows on, @verify has 32
func.func @verify(%q: tensor<?x32xf32>, %p: tensor<?x16xf32>, %c: !cache, %layer: index, %i: tensor<?xi32>)
    -> tensor<?x16xf32> attributes {r1.phase = #r1.phase<verify, max_rows = 32>} {
  %0 = r1.latent_attention %q, %p, %c[%layer] keys @k_b values @v_b at %i, %i scale 0.2
    : tensor<?x32xf32>, tensor<?x16xf32>, !cache, tensor<?xi32>, tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

// A weight that is encoded is left as it is.

!cache = !r1.kv_cache<layers = 2, heads = 1, dim = 32, element = f32, positions = 64, latent = 24>
r1.weight @v_b layers(2) : tensor<16x24xf32> from [#r1.origin<"m", 0, 1536, "f32">, #r1.origin<"m", 0, 1536, "f32">]
r1.weight @k_b.source layers(2) : tensor<32x24xf32> from [#r1.origin<"m", 0, 3072, "f32">, #r1.origin<"m", 0, 3072, "f32">]
r1.derived @k_b layers(2) : tensor<32x24xf32, #r1.encoding<f32>> {
  %0 = r1.read @k_b.source : tensor<32x24xf32>
  %1 = r1.encode %0 : tensor<32x24xf32> -> tensor<32x24xf32, #r1.encoding<f32>>
  r1.yield %1 : tensor<32x24xf32, #r1.encoding<f32>>
}
// CHECK-LABEL: func.func @verify
// CHECK:         r1.latent_attention {{.*}} keys @k_b values @v_b
// CHECK-NOT:     form
// CHECK:         return
// REMARK: [Missed] {{.*}}expanded: @k_b is encoded already
func.func @verify(%q: tensor<?x32xf32>, %p: tensor<?x16xf32>, %c: !cache, %layer: index, %i: tensor<?xi32>)
    -> tensor<?x16xf32> attributes {r1.phase = #r1.phase<verify, max_rows = 8>} {
  %0 = r1.latent_attention %q, %p, %c[%layer] keys @k_b values @v_b at %i, %i scale 0.2
    : tensor<?x32xf32>, tensor<?x16xf32>, !cache, tensor<?xi32>, tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

// Without a phase, nothing is known of rows.

!cache = !r1.kv_cache<layers = 1, heads = 1, dim = 32, element = f32, positions = 64, latent = 24>
r1.weight @k_b layers(1) : tensor<32x24xf32> from [#r1.origin<"m", 0, 3072, "f32">]
r1.weight @v_b layers(1) : tensor<16x24xf32> from [#r1.origin<"m", 0, 1536, "f32">]
// CHECK-LABEL: func.func @forward
// CHECK:         keys @k_b values @v_b
// CHECK-NOT:     form
// CHECK:         return
func.func @forward(%q: tensor<?x32xf32>, %p: tensor<?x16xf32>, %c: !cache, %layer: index, %i: tensor<?xi32>)
    -> tensor<?x16xf32> {
  %0 = r1.latent_attention %q, %p, %c[%layer] keys @k_b values @v_b at %i, %i scale 0.2
    : tensor<?x32xf32>, tensor<?x16xf32>, !cache, tensor<?xi32>, tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

// Kernels for a GPU have the absorbed form alone.

!cache = !r1.kv_cache<layers = 2, heads = 1, dim = 32, element = f32, positions = 64, latent = 24>
module attributes {r1.target = #r1.target<"nvptx64-nvidia-cuda", "sm_90a", "+ptx80",
    vector_bits = 128, vector_registers = 255, bf16_dot = wgmma, int8_dot = dp4a,
    l1 = 232448, l2 = 52428800, l3 = 0, cores = 132>} {
  r1.weight @k_b layers(2) : tensor<32x24xf32> from [#r1.origin<"m", 0, 3072, "f32">, #r1.origin<"m", 0, 3072, "f32">]
  r1.weight @v_b layers(2) : tensor<16x24xf32> from [#r1.origin<"m", 0, 1536, "f32">, #r1.origin<"m", 0, 1536, "f32">]

  // CHECK-LABEL: func.func @prefill_on_gpu
  // CHECK:         r1.latent_attention {{.*}} keys @k_b_absorbed values @v_b {{.*}} form absorbed
  func.func @prefill_on_gpu(%q: tensor<?x32xf32>, %p: tensor<?x16xf32>, %c: !cache, %layer: index, %i: tensor<?xi32>)
      -> tensor<?x16xf32> attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
    %0 = r1.latent_attention %q, %p, %c[%layer] keys @k_b values @v_b at %i, %i scale 0.2
      : tensor<?x32xf32>, tensor<?x16xf32>, !cache, tensor<?xi32>, tensor<?xi32> -> tensor<?x16xf32>
    return %0 : tensor<?x16xf32>
  }
}
