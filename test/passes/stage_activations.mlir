// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-stage-activations | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-stage-activations --r1-stage-activations | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-stage-activations --remarks-filter=r1-stage-activations \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK

!dots = tensor<16x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>
!rows = tensor<16x32xf32, #r1.encoding<bf16>>
!bytes = tensor<16x32xf32, #r1.encoding<fp8, panel = 16, step = 4>>
!byteRows = tensor<16x32xf32, #r1.encoding<fp8, panel = 1, step = 4>>

module attributes {r1.target = #r1.target<"x86_64-linux-gnu", "znver4", "+avx512bf16",
    vector_bits = 512, vector_registers = 32, bf16_dot = avx512bf16, int8_dot = avx512vnni,
    l1 = 32768, l2 = 1048576, l3 = 33554432, cores = 2>} {
  r1.weight @w : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">]
  r1.derived @a : !dots {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !dots
    r1.yield %1 : !dots
  }
  r1.derived @b : !rows {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !rows
    r1.yield %1 : !rows
  }
  r1.derived @c : !bytes {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !bytes
    r1.yield %1 : !bytes
  }
  r1.derived @d : !byteRows {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !byteRows
    r1.yield %1 : !byteRows
  }

  // Two linears share a cast; the third has no weight for it.

  // CHECK-LABEL: func.func @prefill
  // CHECK-SAME:    %[[X:[a-z0-9]+]]: tensor<?x32xf32>
  // CHECK-NEXT:  %[[C:.*]] = r1.cast %[[X]] : tensor<?x32xf32> -> tensor<?x32xbf16>
  // CHECK-NEXT:  r1.linear %[[C]], @a : tensor<?x32xbf16> -> tensor<?x16xf32>
  // CHECK-NEXT:  r1.linear %[[C]], @a : tensor<?x32xbf16> -> tensor<?x16xf32>
  // CHECK-NEXT:  r1.linear %[[X]], @b : tensor<?x32xf32> -> tensor<?x16xf32>
  // REMARK: [Missed] {{.*}}@b takes f32 rows: it is not stored in bf16 with an even step
  func.func @prefill(%x: tensor<?x32xf32>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>)
      attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
    %0 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x16xf32>
    %1 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x16xf32>
    %2 = r1.linear %x, @b : tensor<?x32xf32> -> tensor<?x16xf32>
    return %0, %1, %2 : tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>
  }

  // 8-bit floats become pairs of bf16 in registers, no integers.

  // CHECK-LABEL: func.func @prefill_of_floats
  // CHECK-SAME:    %[[X:[a-z0-9]+]]: tensor<?x32xf32>
  // CHECK-NEXT:  %[[C:.*]] = r1.cast %[[X]] : tensor<?x32xf32> -> tensor<?x32xbf16>
  // CHECK-NEXT:  r1.linear %[[C]], @c : tensor<?x32xbf16> -> tensor<?x16xf32>
  // CHECK-NEXT:  r1.linear %[[X]], @d : tensor<?x32xf32> -> tensor<?x16xf32>
  // REMARK: [Missed] {{.*}}@d takes f32 rows: it is not packed
  func.func @prefill_of_floats(%x: tensor<?x32xf32>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>)
      attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
    %0 = r1.linear %x, @c : tensor<?x32xf32> -> tensor<?x16xf32>
    %1 = r1.linear %x, @d : tensor<?x32xf32> -> tensor<?x16xf32>
    return %0, %1 : tensor<?x16xf32>, tensor<?x16xf32>
  }

  // Nothing to do: few rows are not rounded.

  // CHECK-LABEL: func.func @decode
  // CHECK-NOT: r1.cast
  func.func @decode(%x: tensor<?x32xf32>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>)
      attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
    %0 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x16xf32>
    %1 = r1.linear %x, @c : tensor<?x32xf32> -> tensor<?x16xf32>
    return %0, %1 : tensor<?x16xf32>, tensor<?x16xf32>
  }
}

// -----

!dots = tensor<16x32xf32, #r1.encoding<bf16, panel = 16, step = 2>>

// Nothing to do: without dot instructions, rounding would only lose precision.

module attributes {r1.target = #r1.target<"x86_64-linux-gnu", "haswell", "+avx2",
    vector_bits = 256, vector_registers = 16, bf16_dot = fma,
    l1 = 32768, l2 = 262144, l3 = 33554432, cores = 2>} {
  r1.weight @w : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">]
  r1.derived @a : !dots {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !dots
    r1.yield %1 : !dots
  }
  // CHECK-LABEL: func.func @prefill
  // CHECK-NOT: r1.cast
  func.func @prefill(%x: tensor<?x32xf32>) -> tensor<?x16xf32>
      attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
    %0 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x16xf32>
    return %0 : tensor<?x16xf32>
  }
}

// -----

// Warpgroups take rows in bf16 for every packed weight, in prefill.

!parts = tensor<16x32xf32, #r1.encoding<bf16, panel = 16, step = 8>>
!nibbles = tensor<16x32xf32, #r1.encoding<q4, panel = 16, step = 4>>

module attributes {r1.target = #r1.target<"nvptx64-nvidia-cuda", "sm_90a", "+ptx80",
    vector_bits = 128, vector_registers = 255, bf16_dot = wgmma, int8_dot = dp4a,
    l1 = 232448, l2 = 52428800, l3 = 0, cores = 132>} {
  r1.weight @w : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">]
  r1.derived @a : !parts {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !parts
    r1.yield %1 : !parts
  }
  r1.derived @b : !nibbles {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !nibbles
    r1.yield %1 : !nibbles
  }

  // CHECK-LABEL: func.func @prefill_by_warpgroups
  // CHECK-NEXT:  %[[C:.*]] = r1.cast %{{.*}} : tensor<?x32xf32> -> tensor<?x32xbf16>
  // CHECK-NEXT:  r1.linear %[[C]], @a : tensor<?x32xbf16> -> tensor<?x16xf32>
  // CHECK-NEXT:  r1.linear %[[C]], @b : tensor<?x32xbf16> -> tensor<?x16xf32>
  func.func @prefill_by_warpgroups(%x: tensor<?x32xf32>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>)
      attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
    %0 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x16xf32>
    %1 = r1.linear %x, @b : tensor<?x32xf32> -> tensor<?x16xf32>
    return %0, %1 : tensor<?x16xf32>, tensor<?x16xf32>
  }

  // CHECK-LABEL: func.func @decode_on_gpu
  // CHECK-SAME:    %[[X:[a-z0-9]+]]: tensor<?x32xf32>
  // CHECK-NEXT:  r1.linear %[[X]], @a : tensor<?x32xf32> -> tensor<?x16xf32>
  // CHECK-NEXT:  %[[C:.*]] = r1.cast %[[X]] : tensor<?x32xf32> -> tensor<?x32xi8>
  // CHECK-NEXT:  r1.linear %[[C]], @b : tensor<?x32xi8> -> tensor<?x16xf32>
  func.func @decode_on_gpu(%x: tensor<?x32xf32>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>)
      attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
    %0 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x16xf32>
    %1 = r1.linear %x, @b : tensor<?x32xf32> -> tensor<?x16xf32>
    return %0, %1 : tensor<?x16xf32>, tensor<?x16xf32>
  }
}

// -----

// The tensor cores of other chips multiply bytes, too.

!parts = tensor<16x32xf32, #r1.encoding<bf16, panel = 16, step = 8>>
!nibbles = tensor<16x32xf32, #r1.encoding<q4, panel = 16, step = 4>>

module attributes {r1.target = #r1.target<"nvptx64-nvidia-cuda", "sm_80", "+ptx74",
    vector_bits = 128, vector_registers = 255, bf16_dot = mma, int8_dot = dp4a,
    l1 = 166912, l2 = 41943040, l3 = 0, cores = 108>} {
  r1.weight @w : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">]
  r1.derived @a : !parts {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !parts
    r1.yield %1 : !parts
  }
  r1.derived @b : !nibbles {
    %0 = r1.read @w : tensor<16x32xf32>
    %1 = r1.encode %0 : tensor<16x32xf32> -> !nibbles
    r1.yield %1 : !nibbles
  }

  // CHECK-LABEL: func.func @prefill_by_warps
  // CHECK-SAME:    %[[X:[a-z0-9]+]]: tensor<?x32xf32>
  // CHECK-NEXT:  %[[C:.*]] = r1.cast %[[X]] : tensor<?x32xf32> -> tensor<?x32xbf16>
  // CHECK-NEXT:  r1.linear %[[C]], @a : tensor<?x32xbf16> -> tensor<?x16xf32>
  // CHECK-NEXT:  %[[D:.*]] = r1.cast %[[X]] : tensor<?x32xf32> -> tensor<?x32xi8>
  // CHECK-NEXT:  r1.linear %[[D]], @b : tensor<?x32xi8> -> tensor<?x16xf32>
  func.func @prefill_by_warps(%x: tensor<?x32xf32>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>)
      attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
    %0 = r1.linear %x, @a : tensor<?x32xf32> -> tensor<?x16xf32>
    %1 = r1.linear %x, @b : tensor<?x32xf32> -> tensor<?x16xf32>
    return %0, %1 : tensor<?x16xf32>, tensor<?x16xf32>
  }
}
