// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-observe-inputs | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-observe-inputs --remarks-filter=r1-observe-inputs \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK

// Records of two layers of @a, 33 numbers each, and then one of @b.

r1.weight @a layers(2) : tensor<32x32xf32> from [#r1.origin<"m", 0, 4096, "f32">, #r1.origin<"m", 4096, 4096, "f32">]
r1.weight @b : tensor<16x32xf32> from [#r1.origin<"m", 8192, 2048, "f32">]

// CHECK-LABEL: func.func @prefill
// CHECK:         r1.linear %{{.*}}, @a[%{{.*}}] {r1.observed = 0 : i64}
// CHECK:         r1.linear %{{.*}}, @b {r1.observed = 528 : i64}
// REMARK: [Analysis] {{.*}}32 features of what @a multiplies are observed in 2 layers
// REMARK: [Analysis] {{.*}}32 features of what @b multiplies are observed in 1 layers
func.func @prefill(%x: tensor<?x32xf32>) -> tensor<?x16xf32>
    attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
  %0 = r1.layers %x count 2 first 0 : tensor<?x32xf32> {
  ^bb0(%layer: index, %y: tensor<?x32xf32>):
    %1 = r1.linear %y, @a[%layer] : tensor<?x32xf32> -> tensor<?x32xf32>
    r1.yield %1 : tensor<?x32xf32>
  }
  %2 = r1.linear %0, @b : tensor<?x32xf32> -> tensor<?x16xf32>
  return %2 : tensor<?x16xf32>
}

// -----

// Nothing happens in other phases.

r1.weight @a : tensor<32x32xf32> from [#r1.origin<"m", 0, 4096, "f32">]

// CHECK-LABEL: func.func @decode
// CHECK-NOT:     r1.observed
// REMARK-NOT: remark
func.func @decode(%x: tensor<?x32xf32>) -> tensor<?x32xf32>
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}
