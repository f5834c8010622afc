// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-merge-linears | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-merge-linears --remarks-filter=r1-merge-linears \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK
// Merging again changes nothing.
// RUN: %sputnik-opt %s --split-input-file --r1-merge-linears --r1-merge-linears | FileCheck %s

// Queries, keys and values; one has no bias.

r1.weight @attn_q layers(2) : tensor<64x32xf32> from [#r1.origin<"m", 0, 4096, "bf16">, #r1.origin<"m", 0, 4096, "bf16">]
r1.weight @attn_q_bias layers(2) : tensor<64xf32> from [#r1.origin<"m", 0, 128, "bf16">, #r1.origin<"m", 0, 128, "bf16">]
r1.weight @attn_k layers(2) : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">, #r1.origin<"m", 0, 1024, "bf16">]
r1.weight @attn_k_bias layers(2) : tensor<16xf32> from [#r1.origin<"m", 0, 32, "bf16">, #r1.origin<"m", 0, 32, "bf16">]
r1.weight @attn_v layers(2) : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">, #r1.origin<"m", 0, 1024, "bf16">]

// CHECK:      r1.derived @attn_q_k_v_bias layers(2) : tensor<96xf32> {
// CHECK-NEXT:   %[[A:.*]] = r1.read @attn_q_bias : tensor<64xf32>
// CHECK-NEXT:   %[[B:.*]] = r1.read @attn_k_bias : tensor<16xf32>
// CHECK-NEXT:   %[[C:.*]] = r1.zero : tensor<16xf32>
// CHECK-NEXT:   r1.concat %[[A]], %[[B]], %[[C]] : (tensor<64xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<96xf32>
// CHECK:      r1.derived @attn_q_k_v layers(2) : tensor<96x32xf32> {
// CHECK-NEXT:   %[[A:.*]] = r1.read @attn_q : tensor<64x32xf32>
// CHECK-NEXT:   %[[B:.*]] = r1.read @attn_k : tensor<16x32xf32>
// CHECK-NEXT:   %[[C:.*]] = r1.read @attn_v : tensor<16x32xf32>
// CHECK-NEXT:   %[[D:.*]] = r1.concat %[[A]], %[[B]], %[[C]] : {{.*}} -> tensor<96x32xf32>
// CHECK-NEXT:   r1.yield %[[D]] : tensor<96x32xf32>
// CHECK-LABEL: func.func @attention_inputs
// CHECK-SAME:   %[[X:.*]]: tensor<?x32xf32>, %[[LAYER:.*]]: index
// CHECK-NEXT:   %[[Y:.*]] = r1.linear %[[X]], @attn_q_k_v[%[[LAYER]]] bias @attn_q_k_v_bias : tensor<?x32xf32> -> tensor<?x96xf32>
// CHECK-NEXT:   %[[S:.*]]:3 = r1.split %[[Y]] : tensor<?x96xf32> -> tensor<?x64xf32>, tensor<?x16xf32>, tensor<?x16xf32>
// CHECK-NEXT:   return %[[S]]#0, %[[S]]#1, %[[S]]#2
// REMARK: [Passed] {{.*}}3 linears merged into @attn_q_k_v
func.func @attention_inputs(%x: tensor<?x32xf32>, %layer: index)
    -> (tensor<?x64xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  %q = r1.linear %x, @attn_q[%layer] bias @attn_q_bias : tensor<?x32xf32> -> tensor<?x64xf32>
  %k = r1.linear %x, @attn_k[%layer] bias @attn_k_bias : tensor<?x32xf32> -> tensor<?x16xf32>
  %v = r1.linear %x, @attn_v[%layer] : tensor<?x32xf32> -> tensor<?x16xf32>
  return %q, %k, %v : tensor<?x64xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}

// -----

// Gate and up alternate in blocks of 16 rows; 40 rows are filled up to 48. The
// gate comes first, whatever order they are computed in.

r1.weight @ffn_gate : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
r1.weight @ffn_up : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]

// CHECK:      r1.derived @ffn_gate_up : tensor<96x32xf32> {
// CHECK:        r1.concat %{{.*}}, %{{.*}} block 16 : (tensor<40x32xf32>, tensor<40x32xf32>) -> tensor<96x32xf32>
// CHECK-LABEL: func.func @gated
// CHECK:        %[[Y:.*]] = r1.linear %{{.*}}, @ffn_gate_up : tensor<?x32xf32> -> tensor<?x96xf32>
// CHECK-NEXT:   %[[S:.*]]:2 = r1.split %[[Y]] block 16 : tensor<?x96xf32> -> tensor<?x40xf32>, tensor<?x40xf32>
// CHECK-NEXT:   r1.swiglu %[[S]]#0, %[[S]]#1
// REMARK: [Passed] {{.*}}2 linears merged into @ffn_gate_up
func.func @gated(%x: tensor<?x32xf32>) -> tensor<?x40xf32> {
  %up = r1.linear %x, @ffn_up : tensor<?x32xf32> -> tensor<?x40xf32>
  %gate = r1.linear %x, @ffn_gate : tensor<?x32xf32> -> tensor<?x40xf32>
  %0 = r1.swiglu %gate, %up : tensor<?x40xf32>
  return %0 : tensor<?x40xf32>
}

// -----

// Programs are copied into the merged one, which no weight outside needs then.

r1.weight @norm : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">]
r1.weight @q.source : tensor<64x32xf32> from [#r1.origin<"m", 0, 4096, "bf16">]
r1.derived @q : tensor<64x32xf32> {
  %0 = r1.read @q.source : tensor<64x32xf32>
  %1 = r1.read @norm : tensor<32xf32>
  %2 = r1.scale_columns %0, %1 : tensor<64x32xf32>, tensor<32xf32>
  r1.yield %2 : tensor<64x32xf32>
}
r1.weight @k : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">]

// CHECK-NOT: r1.derived @q :
// CHECK:      r1.derived @q_k : tensor<80x32xf32> {
// CHECK-NEXT:   %[[Q:.*]] = r1.read @q.source
// CHECK-NEXT:   %[[G:.*]] = r1.read @norm
// CHECK-NEXT:   %[[S:.*]] = r1.scale_columns %[[Q]], %[[G]]
// CHECK-NEXT:   %[[K:.*]] = r1.read @k
// CHECK-NEXT:   r1.concat %[[S]], %[[K]]
func.func @programs(%x: tensor<?x32xf32>) -> (tensor<?x64xf32>, tensor<?x16xf32>) {
  %q = r1.linear %x, @q : tensor<?x32xf32> -> tensor<?x64xf32>
  %k = r1.linear %x, @k : tensor<?x32xf32> -> tensor<?x16xf32>
  return %q, %k : tensor<?x64xf32>, tensor<?x16xf32>
}

// -----

// Not merged: a weight that is read elsewhere, and other rows.

r1.weight @shared : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">]
r1.weight @k : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">]

// CHECK-LABEL: func.func @apart
// CHECK-NEXT: r1.linear %{{.*}}, @shared
// CHECK-NEXT: r1.linear %{{.*}}, @k
// CHECK-NEXT: r1.linear %{{.*}}, @shared
// REMARK: [Missed] {{.*}}@shared not merged: it has other readers: it would be stored twice
func.func @apart(%x: tensor<?x32xf32>)
    -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %0 = r1.linear %x, @shared : tensor<?x32xf32> -> tensor<?x32xf32>
  %1 = r1.linear %x, @k : tensor<?x32xf32> -> tensor<?x32xf32>
  %2 = r1.linear %0, @shared : tensor<?x32xf32> -> tensor<?x32xf32>
  return %1, %2 : tensor<?x32xf32>, tensor<?x32xf32>
}
