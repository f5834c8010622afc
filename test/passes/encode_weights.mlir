// RUN: %sputnik-opt %s --verify-each --r1-encode-weights=scheme=bf16 | FileCheck %s
// RUN: %sputnik-opt %s --r1-encode-weights="scheme=bf16 overrides=h*=f32,q=f32,q=bf16" | FileCheck %s --check-prefix=OVERRIDE
// RUN: not %sputnik-opt %s --r1-encode-weights="overrides=q=q3" 2>&1 | FileCheck %s --check-prefix=SCHEME
// RUN: not %sputnik-opt %s --r1-encode-weights="overrides=nothing=f32" 2>&1 | FileCheck %s --check-prefix=UNUSED
// RUN: not %sputnik-opt %s --r1-encode-weights="overrides=[=f32" 2>&1 | FileCheck %s --check-prefix=GLOB
// RUN: %sputnik-opt %s --verify-each --r1-encode-weights="scheme=q4 overrides=head=q8" | FileCheck %s --check-prefix=Q4
// A weight with an encoding is left alone, whatever the scheme.
// RUN: %sputnik-opt %s --r1-encode-weights=scheme=bf16 --r1-encode-weights=scheme=f32 | FileCheck %s

// SCHEME: error: override 'q=q3' names no scheme; expected pattern=f32, pattern=bf16, pattern=q8, pattern=q4, pattern=q4_plain or pattern=fp8
// UNUSED: error: override 'nothing=f32' fits no matrix
// GLOB: error: override '[=f32': invalid glob pattern

// Vectors stay f32; what a program reads is not what an op reads.

// CHECK:      r1.weight @norm.source : tensor<32xf32>
// CHECK-NEXT: r1.derived @norm : tensor<32xf32, #r1.encoding<f32>> {
// CHECK-NEXT:   %[[A:.*]] = r1.read @norm.source : tensor<32xf32>
// CHECK-NEXT:   %[[B:.*]] = r1.encode %[[A]] : tensor<32xf32> -> tensor<32xf32, #r1.encoding<f32>>
// CHECK-NEXT:   r1.yield %[[B]]
r1.weight @norm : tensor<32xf32> from [#r1.origin<"m", 0, 64, "bf16">]
// Q4: r1.derived @norm : tensor<32xf32, #r1.encoding<f32>> {
// Q4: r1.derived @q layers(1) : tensor<64x32xf32, #r1.encoding<q4, step = 4>> {
// Q4: r1.derived @head : tensor<40x32xf32, #r1.encoding<q8, step = 4>> {
// CHECK: r1.derived @q layers(1) : tensor<64x32xf32, #r1.encoding<bf16>> {
// OVERRIDE: r1.derived @q layers(1) : tensor<64x32xf32, #r1.encoding<f32>> {
r1.weight @q layers(1) : tensor<64x32xf32> from [#r1.origin<"m", 0, 4096, "bf16">]
r1.weight @plain : tensor<40x32xf32> from [#r1.origin<"m", 0, 4096, "bf16">]

// A program ends in the encoding.
// CHECK:      r1.derived @head : tensor<40x32xf32, #r1.encoding<bf16>> {
// CHECK-NEXT:   r1.read @plain
// CHECK-NEXT:   r1.read @norm.source
// CHECK-NEXT:   r1.scale_columns
// CHECK-NEXT:   r1.encode
// OVERRIDE: r1.derived @head : tensor<40x32xf32, #r1.encoding<f32>> {
r1.derived @head : tensor<40x32xf32> {
  %0 = r1.read @plain : tensor<40x32xf32>
  %1 = r1.read @norm : tensor<32xf32>
  %2 = r1.scale_columns %0, %1 : tensor<40x32xf32>, tensor<32xf32>
  r1.yield %2 : tensor<40x32xf32>
}

// A program that another program reads keeps its plain value.
// CHECK:      r1.derived @up.source : tensor<32x32xf32> {
// CHECK:      r1.derived @up : tensor<32x32xf32, #r1.encoding<bf16>> {
// CHECK-NEXT:   r1.read @up_stored
// CHECK-NEXT:   r1.encode
r1.weight @up_stored : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">]
r1.derived @up : tensor<32x32xf32> {
  %0 = r1.read @up_stored : tensor<32x32xf32>
  r1.yield %0 : tensor<32x32xf32>
}
// CHECK:      r1.derived @both : tensor<64x32xf32, #r1.encoding<bf16>> {
// CHECK:        r1.read @up.source : tensor<32x32xf32>
r1.derived @both : tensor<64x32xf32> {
  %0 = r1.read @up : tensor<32x32xf32>
  %1 = r1.concat %0, %0 : (tensor<32x32xf32>, tensor<32x32xf32>) -> tensor<64x32xf32>
  r1.yield %1 : tensor<64x32xf32>
}

// A table of which each token reads one row; one that a linear reads as well.
// Q4: r1.derived @embed : tensor<40x32xf32, #r1.encoding<bf16>> {
// Q4: r1.derived @tied : tensor<40x32xf32, #r1.encoding<q4, step = 4>> {
r1.weight @embed : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
r1.weight @tied : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]

// Nothing reads these two.
// CHECK-NOT: @unread
r1.weight @unread : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
r1.derived @unread_too : tensor<40x32xf32> {
  %0 = r1.read @unread : tensor<40x32xf32>
  r1.yield %0 : tensor<40x32xf32>
}

// CHECK-LABEL: func.func @readers
func.func @readers(%x: tensor<?x32xf32>, %layer: index)
    -> (tensor<?x64xf32>, tensor<?x40xf32>, tensor<?x32xf32>, tensor<?x64xf32>) {
  // CHECK-NEXT: r1.rms_norm %{{.*}}, @norm
  %0 = r1.rms_norm %x, @norm eps 1.0e-6 : tensor<?x32xf32>
  // CHECK-NEXT: r1.linear %{{.*}}, @q[%{{.*}}]
  %1 = r1.linear %0, @q[%layer] : tensor<?x32xf32> -> tensor<?x64xf32>
  // CHECK-NEXT: r1.linear %{{.*}}, @head
  %2 = r1.linear %x, @head : tensor<?x32xf32> -> tensor<?x40xf32>
  %3 = r1.linear %x, @up : tensor<?x32xf32> -> tensor<?x32xf32>
  %4 = r1.linear %x, @both : tensor<?x32xf32> -> tensor<?x64xf32>
  return %1, %2, %3, %4 : tensor<?x64xf32>, tensor<?x40xf32>, tensor<?x32xf32>, tensor<?x64xf32>
}

// CHECK-LABEL: func.func @tables
func.func @tables(%tokens: tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x40xf32>) {
  %0 = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x32xf32>
  %1 = r1.embed %tokens, @tied : tensor<?xi32> -> tensor<?x32xf32>
  %2 = r1.linear %1, @tied : tensor<?x32xf32> -> tensor<?x40xf32>
  return %0, %2 : tensor<?x32xf32>, tensor<?x40xf32>
}
