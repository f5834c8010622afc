// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-fold-norm-gains | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-fold-norm-gains=scheme=bf16 | FileCheck %s --check-prefix=BF16
// RUN: %sputnik-opt %s --split-input-file --r1-fold-norm-gains --remarks-filter=r1-fold-norm-gains \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: %sputnik-opt %s --split-input-file --r1-fold-norm-gains=scheme=bf16 --remarks-filter=r1-fold-norm-gains \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK-BF16
// An override counts for what reads the matrix that it names, and for nothing else.
// RUN: %sputnik-opt %s --split-input-file --r1-fold-norm-gains=overrides=k=q4 | FileCheck %s --check-prefix=OVERRIDE
// RUN: %sputnik-opt %s --split-input-file --r1-fold-norm-gains=overrides=k=q4 --remarks-filter=r1-fold-norm-gains \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK-OVERRIDE

// The gain of a norm that two linears read goes into both of their weights.

r1.weight @norm layers(1) : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">]
r1.weight @q layers(1) : tensor<64x32xf32> from [#r1.origin<"m", 0, 4096, "bf16">]
r1.weight @k layers(1) : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">]

// CHECK:      r1.weight @q.source layers(1)
// CHECK-NEXT: r1.derived @q layers(1) : tensor<64x32xf32> {
// CHECK-NEXT:   %[[W:.*]] = r1.read @q.source : tensor<64x32xf32>
// CHECK-NEXT:   %[[G:.*]] = r1.read @norm : tensor<32xf32>
// CHECK-NEXT:   %[[S:.*]] = r1.scale_columns %[[W]], %[[G]] : tensor<64x32xf32>, tensor<32xf32>
// CHECK-NEXT:   r1.yield %[[S]] : tensor<64x32xf32>
// CHECK:      r1.derived @k layers(1) : tensor<16x32xf32> {
// CHECK-LABEL: func.func @two_linears
// CHECK:      %[[N:.*]] = r1.rms_norm %{{.*}} eps
// CHECK-NEXT: r1.linear %[[N]], @q[%{{.*}}]
// CHECK-NEXT: r1.linear %[[N]], @k[%{{.*}}]

// BF16-LABEL: func.func @two_linears
// BF16: r1.rms_norm %{{.*}}, @norm[%{{.*}}] eps

// OVERRIDE-NOT:   r1.scale_columns
// OVERRIDE-LABEL: func.func @two_linears
// OVERRIDE:       r1.rms_norm %{{.*}}, @norm[%{{.*}}] eps

// REMARK: :[[#@LINE+5]]:{{.*}}[Passed] {{.*}}@norm folded into the weights that follow
// REMARK-BF16: :[[#@LINE+4]]:{{.*}}[Missed] {{.*}}@norm not folded: @k is stored in bf16, which cannot hold the product of two bf16 values; the gain is applied to the activations
// REMARK-OVERRIDE: [Missed] {{.*}}@norm not folded: @k is stored in q4, which has one scale for columns of different gains; the gain is applied to the activations
func.func @two_linears(%x: tensor<?x32xf32>, %layer: index)
    -> (tensor<?x64xf32>, tensor<?x16xf32>) {
  %0 = r1.rms_norm %x, @norm[%layer] eps 1.0e-6 : tensor<?x32xf32>
  %1 = r1.linear %0, @q[%layer] : tensor<?x32xf32> -> tensor<?x64xf32>
  %2 = r1.linear %0, @k[%layer] : tensor<?x32xf32> -> tensor<?x16xf32>
  return %1, %2 : tensor<?x64xf32>, tensor<?x16xf32>
}

// -----

// A weight program grows; no second one is put around it.

r1.weight @norm : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">]
r1.weight @q_interleaved : tensor<64x32xf32> from [#r1.origin<"m", 0, 4096, "bf16">]

// CHECK:      r1.derived @q : tensor<64x32xf32> {
// CHECK-NEXT:   %[[W:.*]] = r1.read @q_interleaved : tensor<64x32xf32>
// CHECK-NEXT:   %[[U:.*]] = r1.unpermute %[[W]] head_dim 16 : tensor<64x32xf32>
// CHECK-NEXT:   %[[G:.*]] = r1.read @norm : tensor<32xf32>
// CHECK-NEXT:   r1.scale_columns %[[U]], %[[G]]
// CHECK-NOT:  @q.source
r1.derived @q : tensor<64x32xf32> {
  %0 = r1.read @q_interleaved : tensor<64x32xf32>
  %1 = r1.unpermute %0 head_dim 16 : tensor<64x32xf32>
  r1.yield %1 : tensor<64x32xf32>
}
// CHECK-LABEL: func.func @program
// OVERRIDE:       r1.scale_columns
// OVERRIDE-LABEL: func.func @program
// OVERRIDE:       r1.rms_norm %{{.*}} eps
func.func @program(%x: tensor<?x32xf32>) -> tensor<?x64xf32> {
  %0 = r1.rms_norm %x, @norm eps 1.0e-6 : tensor<?x32xf32>
  %1 = r1.linear %0, @q : tensor<?x32xf32> -> tensor<?x64xf32>
  return %1 : tensor<?x64xf32>
}

// -----

// A tied head: embeddings must not be scaled.

r1.weight @norm : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">]
r1.weight @embed : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]

// CHECK: r1.weight @embed :
// CHECK-LABEL: func.func @tied
// CHECK: r1.rms_norm %{{.*}}, @norm eps
// REMARK: [Missed] {{.*}}@norm not folded: @embed has other readers: it would be stored twice
func.func @tied(%tokens: tensor<?xi32>) -> tensor<?x40xf32> {
  %0 = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x32xf32>
  %1 = r1.rms_norm %0, @norm eps 1.0e-6 : tensor<?x32xf32>
  %2 = r1.linear %1, @embed : tensor<?x32xf32> -> tensor<?x40xf32>
  return %2 : tensor<?x40xf32>
}

// -----

// The norm's value is needed as it is.

r1.weight @norm : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">]
r1.weight @o : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">]

// CHECK-LABEL: func.func @other_user
// CHECK: r1.rms_norm %{{.*}}, @norm eps
// REMARK: [Missed] {{.*}}@norm not folded: r1.add uses the norm too
func.func @other_user(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %0 = r1.rms_norm %x, @norm eps 1.0e-6 : tensor<?x32xf32>
  %1 = r1.linear %0, @o : tensor<?x32xf32> -> tensor<?x32xf32>
  %2 = r1.add %0, %1 : tensor<?x32xf32>
  return %2 : tensor<?x32xf32>
}

// -----

// Nothing to do: a norm over heads belongs to no column, one without a weight
// has no gain.

r1.weight @q_norm : tensor<16xf32> from [#r1.origin<"m", 0, 32, "bf16">]
r1.weight @o : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">]

// CHECK-NOT: r1.derived
// CHECK-LABEL: func.func @no_gain
// CHECK: r1.rms_norm %{{.*}}, @q_norm head_dim 16 eps
// CHECK: r1.rms_norm %{{.*}} eps
// REMARK-NOT: remark
func.func @no_gain(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %0 = r1.rms_norm %x, @q_norm head_dim 16 eps 1.0e-6 : tensor<?x32xf32>
  %1 = r1.rms_norm %0 eps 1.0e-6 : tensor<?x32xf32>
  %2 = r1.linear %1, @o : tensor<?x32xf32> -> tensor<?x32xf32>
  return %2 : tensor<?x32xf32>
}
