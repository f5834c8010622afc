// RUN: %sputnik-opt %s --verify-each --r1-encode-weights=scheme=bf16 --r1-pack-weights | FileCheck %s
// RUN: %sputnik-opt %s --r1-encode-weights --r1-pack-weights | FileCheck %s --check-prefix=F32
// RUN: %sputnik-opt %s --verify-each --r1-encode-weights=scheme=q4 --r1-pack-weights --remarks-filter=r1-pack-weights \
// RUN:   --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=Q4
// RUN: %sputnik-opt %s --verify-each --r1-encode-weights=scheme=fp8 --r1-pack-weights --remarks-filter=r1-pack-weights \
// RUN:   --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=FP8
// RUN: %sputnik-opt %s --r1-encode-weights=scheme=bf16 --r1-pack-weights --r1-pack-weights | FileCheck %s
// RUN: %sputnik-opt %s --r1-pack-weights --remarks-filter=r1-pack-weights --remark-format=emitRemark 2>&1 \
// RUN:   | FileCheck %s --check-prefix=PLAIN

// 8 missing rows of 18 bytes each, and 32 bytes to whole cache lines in both
// panels; a table that is only looked up in stays as it is.
// Q4-DAG: @head lies in panels of 16 rows and steps of 4 columns, 192 bytes of padding
// Q4-DAG: r1.derived @head : tensor<24x32xf32, #r1.encoding<q4, panel = 16, step = 4>>
// Q4-DAG: r1.derived @tied : tensor<40x32xf32, #r1.encoding<q4, panel = 16, step = 4>>
// Q4-DAG: r1.derived @embed : tensor<40x32xf32, #r1.encoding<bf16>>

// 8 missing rows of a block of 128 and its scale; rows are filled up before.
// FP8-DAG: @head lies in panels of 16 rows and steps of 4 columns, 1056 bytes of padding
// FP8-DAG: r1.derived @head : tensor<24x32xf32, #r1.encoding<fp8, panel = 16, step = 4>>
// FP8-DAG: r1.derived @embed : tensor<40x32xf32, #r1.encoding<bf16>>

// Without an encoding there is nothing to pack.
// PLAIN: [Missed] {{.*}}not packed: @head has no encoding yet; r1-encode-weights gives it one
// PLAIN-NOT: panel

// An embedding table that no linear reads stays row-major.
// CHECK: r1.derived @embed : tensor<40x32xf32, #r1.encoding<bf16>> {
r1.weight @embed : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
// A tied one is packed once, for both.
// CHECK:      r1.derived @tied : tensor<40x32xf32, #r1.encoding<bf16, panel = 16, step = 2>> {
// CHECK-NEXT:   %[[A:.*]] = r1.read @tied.source
// CHECK-NEXT:   %[[B:.*]] = r1.encode %[[A]] : tensor<40x32xf32> -> tensor<40x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
// CHECK-NEXT:   r1.yield %[[B]]
// CHECK-NOT:  @tied
r1.weight @tied : tensor<40x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
// CHECK: r1.derived @head : tensor<24x32xf32, #r1.encoding<bf16, panel = 16, step = 2>> {
// F32: r1.derived @head : tensor<24x32xf32, #r1.encoding<f32, panel = 16>> {
r1.weight @head : tensor<24x32xf32> from [#r1.origin<"m", 0, 2560, "bf16">]
// Vectors have no panels.
// CHECK: r1.derived @bias : tensor<24xf32, #r1.encoding<f32>> {
r1.weight @bias : tensor<24xf32> from [#r1.origin<"m", 0, 80, "bf16">]

func.func @f(%tokens: tensor<?xi32>) -> (tensor<?x24xf32>, tensor<?x40xf32>) {
  %0 = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x32xf32>
  %1 = r1.embed %tokens, @tied : tensor<?xi32> -> tensor<?x32xf32>
  %2 = r1.linear %0, @head bias @bias : tensor<?x32xf32> -> tensor<?x24xf32>
  %3 = r1.linear %1, @tied : tensor<?x32xf32> -> tensor<?x40xf32>
  return %2, %3 : tensor<?x24xf32>, tensor<?x40xf32>
}
