// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-form-regions | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-form-regions=fuse=false | FileCheck %s --check-prefix=ALONE
// RUN: %sputnik-opt %s --split-input-file --r1-form-regions --remarks-filter=r1-form-regions \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK
// Regions are not put into regions.
// RUN: %sputnik-opt %s --split-input-file --r1-form-regions --r1-form-regions | FileCheck %s

// The residual joins the linear; what the addend comes from must be there.

!packed = tensor<32x32xf32, #r1.encoding<f32, panel = 16>>
r1.weight @w : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">]
r1.derived @down : !packed {
  %0 = r1.read @w : tensor<32x32xf32>
  %1 = r1.encode %0 : tensor<32x32xf32> -> !packed
  r1.yield %1 : !packed
}
// CHECK-LABEL: func.func @residual
// CHECK-SAME:    %[[X:.*]]: tensor<?x32xf32>
// CHECK-NEXT:  %[[R:.*]] = r1.region "down" -> (tensor<?x32xf32>) {
// CHECK-NEXT:    %[[L:.*]] = r1.linear %[[X]], @down
// CHECK-NEXT:    %[[A:.*]] = r1.add %[[L]], %[[X]]
// CHECK-NEXT:    r1.yield %[[A]]
// CHECK-NEXT:  }
// CHECK-NEXT:  return %[[R]]
// REMARK: [Passed] {{.*}}region down of 2 ops

// ALONE-LABEL: func.func @residual
// ALONE-NEXT:  %[[L:.*]] = r1.region "linear" -> (tensor<?x32xf32>) {
// ALONE-NEXT:    r1.linear
// ALONE-NEXT:    r1.yield
// ALONE-NEXT:  }
// ALONE-NEXT:  %[[A:.*]] = r1.region "add" -> (tensor<?x32xf32>) {
// ALONE-NEXT:    r1.add %[[L]], %{{.*}}
func.func @residual(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %0 = r1.linear %x, @down : tensor<?x32xf32> -> tensor<?x32xf32>
  %1 = r1.add %0, %x : tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}

// -----

// Selection and norm join only where there are few rows; a value that is used
// outside too is a result.

!packed = tensor<32x32xf32, #r1.encoding<f32, panel = 16>>
r1.weight @w : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">]
r1.derived @head : !packed {
  %0 = r1.read @w : tensor<32x32xf32>
  %1 = r1.encode %0 : tensor<32x32xf32> -> !packed
  r1.yield %1 : !packed
}
// CHECK-LABEL: func.func @decode
// CHECK-NEXT:  r1.region "head" -> (tensor<?x32xf32>) {
// CHECK-NEXT:    r1.select_rows
// CHECK-NEXT:    r1.rms_norm
// CHECK-NEXT:    r1.linear
// CHECK-NEXT:    r1.yield
func.func @decode(%x: tensor<?x32xf32>, %rows: tensor<?xi32>) -> tensor<?x32xf32>
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.select_rows %x, %rows : tensor<?x32xf32>, tensor<?xi32>
  %1 = r1.rms_norm %0 eps 1.0e-6 : tensor<?x32xf32>
  %2 = r1.linear %1, @head : tensor<?x32xf32> -> tensor<?x32xf32>
  return %2 : tensor<?x32xf32>
}
// CHECK-LABEL: func.func @prefill
// CHECK-NEXT:  %[[N:.*]] = r1.region "select_rows+rms_norm" -> (tensor<?x32xf32>) {
// CHECK-NEXT:    r1.select_rows
// CHECK-NEXT:    r1.rms_norm
// CHECK-NEXT:    r1.yield
// CHECK-NEXT:  }
// CHECK-NEXT:  r1.region "head" -> (tensor<?x32xf32>) {
// CHECK-NEXT:    r1.linear %[[N]], @head
func.func @prefill(%x: tensor<?x32xf32>, %rows: tensor<?xi32>) -> tensor<?x32xf32>
    attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
  %0 = r1.select_rows %x, %rows : tensor<?x32xf32>, tensor<?xi32>
  %1 = r1.rms_norm %0 eps 1.0e-6 : tensor<?x32xf32>
  %2 = r1.linear %1, @head : tensor<?x32xf32> -> tensor<?x32xf32>
  return %2 : tensor<?x32xf32>
}
// CHECK-LABEL: func.func @verify
// CHECK-NEXT:  %[[N:.*]] = r1.region "rms_norm"
// CHECK:       %[[R:.*]]:2 = r1.region "head" -> (tensor<?x32xf32>, tensor<?x32xf32>) {
// CHECK-NEXT:    %[[L:.*]] = r1.linear %[[N]], @head
// CHECK-NEXT:    %[[A:.*]] = r1.add %[[L]], %[[N]]
// CHECK-NEXT:    r1.yield %[[L]], %[[A]]
// CHECK:       return %[[R]]#0, %[[R]]#1
func.func @verify(%x: tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
    attributes {r1.phase = #r1.phase<verify, max_rows = 8>} {
  %0 = r1.rms_norm %x eps 1.0e-6 : tensor<?x32xf32>
  %1 = r1.linear %0, @head : tensor<?x32xf32> -> tensor<?x32xf32>
  %2 = r1.add %1, %0 : tensor<?x32xf32>
  return %1, %2 : tensor<?x32xf32>, tensor<?x32xf32>
}

// -----

// Everything from the projections to the cache is one region, but not past the
// attention that reads it; its cast joins the attention.

!packed = tensor<96x32xf32, #r1.encoding<f32, panel = 16>>
!cache = !r1.kv_cache<layers = 1, heads = 2, dim = 16, element = f32, positions = 64>
r1.weight @w : tensor<96x32xf32> from [#r1.origin<"m", 0, 6144, "bf16">]
r1.derived @qkv : !packed {
  %0 = r1.read @w : tensor<96x32xf32>
  %1 = r1.encode %0 : tensor<96x32xf32> -> !packed
  r1.yield %1 : !packed
}
// CHECK-LABEL: func.func @heads
// CHECK-NEXT:  %[[T:.*]] = r1.region "rope_table"
// CHECK:       %[[Q:.*]] = r1.region "qkv" -> (tensor<?x32xf32>) {
// CHECK-NEXT:    r1.linear
// CHECK-NEXT:    r1.split
// CHECK-NEXT:    r1.rms_norm %{{.*}} head_dim 16
// CHECK-NEXT:    r1.rope %{{.*}}, %[[T]]
// CHECK-NEXT:    r1.rope %{{.*}}, %[[T]]
// CHECK-NEXT:    r1.kv_append
// CHECK-NEXT:    r1.yield
// CHECK-NEXT:  }
// CHECK-NEXT:  %[[A:.*]] = r1.region "attention" -> (tensor<?x32xbf16>) {
// CHECK-NEXT:    r1.attention %[[Q]]
// CHECK-NEXT:    r1.cast
// CHECK-NEXT:    r1.yield
// CHECK-NEXT:  }
// CHECK-NEXT:  return %[[A]]
func.func @heads(%x: tensor<?x32xf32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>,
                 %cache: !cache, %layer: index) -> tensor<?x32xbf16> {
  %t = r1.rope_table %positions frequencies [1.0, 0.5, 0.25, 0.1, 0.05, 0.01, 0.005, 0.001] magnitude 1.0
    : tensor<?xi32> -> tensor<?x16xf32>
  %0 = r1.linear %x, @qkv : tensor<?x32xf32> -> tensor<?x96xf32>
  %q, %k, %v = r1.split %0 : tensor<?x96xf32> -> tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
  %qn = r1.rms_norm %q head_dim 16 eps 1.0e-6 : tensor<?x32xf32>
  %qr = r1.rope %qn, %t head_dim 16 : tensor<?x32xf32>, tensor<?x16xf32>
  %kr = r1.rope %k, %t head_dim 16 : tensor<?x32xf32>, tensor<?x16xf32>
  r1.kv_append %cache[%layer] keys %kr : tensor<?x32xf32> values %v : tensor<?x32xf32> at %slots, %positions
    : !cache, tensor<?xi32>, tensor<?xi32>
  %a = r1.attention %qr, %cache[%layer] at %slots, %positions scale 0.25
    : tensor<?x32xf32>, !cache, tensor<?xi32>, tensor<?xi32>
  %c = r1.cast %a : tensor<?x32xf32> -> tensor<?x32xbf16>
  return %c : tensor<?x32xbf16>
}

// -----

// Heads of 20: the split would cut panels, so all that follows is a chain of
// its own, row by row.

!packed = tensor<100x32xf32, #r1.encoding<f32, panel = 16>>
!cache = !r1.kv_cache<layers = 1, heads = 1, dim = 20, element = f32, positions = 64>
r1.weight @w : tensor<100x32xf32> from [#r1.origin<"m", 0, 6400, "bf16">]
r1.derived @qkv : !packed {
  %0 = r1.read @w : tensor<100x32xf32>
  %1 = r1.encode %0 : tensor<100x32xf32> -> !packed
  r1.yield %1 : !packed
}
// CHECK-LABEL: func.func @odd_heads
// CHECK-NEXT:  %[[L:.*]] = r1.region "qkv" -> (tensor<?x100xf32>) {
// CHECK-NEXT:    r1.linear
// CHECK-NEXT:    r1.yield
// CHECK-NEXT:  }
// CHECK-NEXT:  r1.region "split+rms_norm+kv_append" -> (tensor<?x60xf32>) {
// CHECK-NEXT:    r1.split %[[L]]
// REMARK: [Missed] {{.*}}not fused: the split at feature 60 cuts a panel of 16
func.func @odd_heads(%x: tensor<?x32xf32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>,
                     %cache: !cache, %layer: index) -> tensor<?x60xf32> {
  %0 = r1.linear %x, @qkv : tensor<?x32xf32> -> tensor<?x100xf32>
  %q, %k, %v = r1.split %0 : tensor<?x100xf32> -> tensor<?x60xf32>, tensor<?x20xf32>, tensor<?x20xf32>
  %qn = r1.rms_norm %q head_dim 20 eps 1.0e-6 : tensor<?x60xf32>
  r1.kv_append %cache[%layer] keys %k : tensor<?x20xf32> values %v : tensor<?x20xf32> at %slots, %positions
    : !cache, tensor<?xi32>, tensor<?xi32>
  return %qn : tensor<?x60xf32>
}

// -----

// Four heads of 20 end on a panel, but the heads do not.

!packed = tensor<160x32xf32, #r1.encoding<f32, panel = 16>>
r1.weight @w : tensor<160x32xf32> from [#r1.origin<"m", 0, 10240, "bf16">]
r1.derived @qk : !packed {
  %0 = r1.read @w : tensor<160x32xf32>
  %1 = r1.encode %0 : tensor<160x32xf32> -> !packed
  r1.yield %1 : !packed
}
// CHECK-LABEL: func.func @odd_heads_on_panels
// CHECK-NEXT:  %[[S:.*]]:2 = r1.region "qk" -> (tensor<?x80xf32>, tensor<?x80xf32>) {
// CHECK-NEXT:    r1.linear
// CHECK-NEXT:    r1.split
// CHECK-NEXT:    r1.yield
// CHECK-NEXT:  }
// CHECK-NEXT:  r1.region "rms_norm" -> (tensor<?x80xf32>) {
// CHECK-NEXT:    r1.rms_norm %[[S]]#0
// REMARK: [Missed] {{.*}}not fused: heads of 20 features are not a multiple of the panel of 16
func.func @odd_heads_on_panels(%x: tensor<?x32xf32>) -> (tensor<?x80xf32>, tensor<?x80xf32>) {
  %0 = r1.linear %x, @qk : tensor<?x32xf32> -> tensor<?x160xf32>
  %q, %k = r1.split %0 : tensor<?x160xf32> -> tensor<?x80xf32>, tensor<?x80xf32>
  %qn = r1.rms_norm %q head_dim 20 eps 1.0e-6 : tensor<?x80xf32>
  return %qn, %k : tensor<?x80xf32>, tensor<?x80xf32>
}

// -----

// Blocks must be the panels; factors of one product must lie in one panel.

!packed = tensor<96x32xf32, #r1.encoding<f32, panel = 16>>
r1.weight @w : tensor<96x32xf32> from [#r1.origin<"m", 0, 6144, "bf16">]
r1.derived @gate_up : !packed {
  %0 = r1.read @w : tensor<96x32xf32>
  %1 = r1.encode %0 : tensor<96x32xf32> -> !packed
  r1.yield %1 : !packed
}
// CHECK-LABEL: func.func @blocks
// CHECK-NEXT:  r1.region "gate_up" -> (tensor<?x40xf32>) {
// CHECK-NEXT:    r1.linear
// CHECK-NEXT:    r1.split %{{.*}} block 16
// CHECK-NEXT:    r1.swiglu
// CHECK-NEXT:    r1.yield
func.func @blocks(%x: tensor<?x32xf32>) -> tensor<?x40xf32> {
  %0 = r1.linear %x, @gate_up : tensor<?x32xf32> -> tensor<?x96xf32>
  %g, %u = r1.split %0 block 16 : tensor<?x96xf32> -> tensor<?x40xf32>, tensor<?x40xf32>
  %1 = r1.swiglu %g, %u : tensor<?x40xf32>
  return %1 : tensor<?x40xf32>
}
// CHECK-LABEL: func.func @small_blocks
// CHECK-NEXT:  r1.region "gate_up" -> (tensor<?x96xf32>) {
// CHECK:       r1.region "split+swiglu" -> (tensor<?x48xf32>) {
// REMARK: [Missed] {{.*}}not fused: blocks of 8 features are not the panels of 16
func.func @small_blocks(%x: tensor<?x32xf32>) -> tensor<?x48xf32> {
  %0 = r1.linear %x, @gate_up : tensor<?x32xf32> -> tensor<?x96xf32>
  %g, %u = r1.split %0 block 8 : tensor<?x96xf32> -> tensor<?x48xf32>, tensor<?x48xf32>
  %1 = r1.swiglu %g, %u : tensor<?x48xf32>
  return %1 : tensor<?x48xf32>
}
// CHECK-LABEL: func.func @halves
// CHECK-NEXT:  %[[S:.*]]:2 = r1.region "gate_up" -> (tensor<?x48xf32>, tensor<?x48xf32>) {
// CHECK:       r1.region "swiglu" -> (tensor<?x48xf32>) {
// REMARK: [Missed] {{.*}}not fused: its operands lie in different panels
func.func @halves(%x: tensor<?x32xf32>) -> tensor<?x48xf32> {
  %0 = r1.linear %x, @gate_up : tensor<?x32xf32> -> tensor<?x96xf32>
  %g, %u = r1.split %0 : tensor<?x96xf32> -> tensor<?x48xf32>, tensor<?x48xf32>
  %1 = r1.swiglu %g, %u : tensor<?x48xf32>
  return %1 : tensor<?x48xf32>
}

// -----

// Keys and values from two linears: the append waits for both. An attention in
// between keeps it in its place as well.

!packed = tensor<16x32xf32, #r1.encoding<f32, panel = 16>>
!cache = !r1.kv_cache<layers = 1, heads = 1, dim = 16, element = f32, positions = 64>
r1.weight @w : tensor<16x32xf32> from [#r1.origin<"m", 0, 1024, "bf16">]
r1.derived @kv : !packed {
  %0 = r1.read @w : tensor<16x32xf32>
  %1 = r1.encode %0 : tensor<16x32xf32> -> !packed
  r1.yield %1 : !packed
}
// CHECK-LABEL: func.func @appends
// CHECK-NEXT:  r1.region "kv" -> (tensor<?x16xf32>) {
// CHECK:       r1.region "kv" -> (tensor<?x16xf32>) {
// CHECK:       r1.region "kv_append" {
// CHECK:       r1.region "kv" -> (tensor<?x16xf32>) {
// CHECK:       r1.region "attention" -> (tensor<?x16xf32>) {
// CHECK:       r1.region "kv_append" {
// REMARK: [Missed] {{.*}}not fused: not all of its rows come from the linear
// REMARK: [Missed] {{.*}}not fused: memory is used between the linear and it
func.func @appends(%x: tensor<?x32xf32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>,
                   %cache: !cache, %layer: index) -> tensor<?x16xf32> {
  %k = r1.linear %x, @kv : tensor<?x32xf32> -> tensor<?x16xf32>
  %v = r1.linear %x, @kv : tensor<?x32xf32> -> tensor<?x16xf32>
  r1.kv_append %cache[%layer] keys %k : tensor<?x16xf32> values %v : tensor<?x16xf32> at %slots, %positions
    : !cache, tensor<?xi32>, tensor<?xi32>
  %k2 = r1.linear %x, @kv : tensor<?x32xf32> -> tensor<?x16xf32>
  %a = r1.attention %k, %cache[%layer] at %slots, %positions scale 0.25
    : tensor<?x16xf32>, !cache, tensor<?xi32>, tensor<?xi32>
  r1.kv_append %cache[%layer] keys %k2 : tensor<?x16xf32> at %slots, %positions
    : !cache, tensor<?xi32>, tensor<?xi32>
  return %a : tensor<?x16xf32>
}

// -----

// A row-major linear takes nothing in; loops are worked on inside, ops without
// use disappear.

r1.weight @w layers(2) : tensor<32x32xf32> from [#r1.origin<"m", 0, 2048, "bf16">, #r1.origin<"m", 0, 2048, "bf16">]
// CHECK-LABEL: func.func @loop
// CHECK-NEXT:  %[[E:.*]] = r1.region "rms_norm"
// CHECK:       r1.layers %[[E]]
// CHECK-NEXT:  ^bb0(%[[LAYER:.*]]: index, %[[X:.*]]: tensor<?x32xf32>):
// CHECK-NEXT:    %[[L:.*]] = r1.region "w" -> (tensor<?x32xf32>) {
// CHECK-NEXT:      r1.linear %[[X]], @w[%[[LAYER]]]
// CHECK-NEXT:      r1.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    %[[A:.*]] = r1.region "add" -> (tensor<?x32xf32>) {
// CHECK-NEXT:      r1.add %[[L]], %[[X]]
// CHECK-NEXT:      r1.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    r1.yield %[[A]]
// CHECK-NOT:   r1.cast
// REMARK: [Missed] {{.*}}not fused: w is not packed
func.func @loop(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %0 = r1.rms_norm %x eps 1.0e-6 : tensor<?x32xf32>
  %1 = r1.layers %0 count 2 first 0 : tensor<?x32xf32> {
  ^bb0(%layer: index, %y: tensor<?x32xf32>):
    %2 = r1.linear %y, @w[%layer] : tensor<?x32xf32> -> tensor<?x32xf32>
    %3 = r1.add %2, %y : tensor<?x32xf32>
    %unused = r1.cast %3 : tensor<?x32xf32> -> tensor<?x32xbf16>
    r1.yield %3 : tensor<?x32xf32>
  }
  return %1 : tensor<?x32xf32>
}
