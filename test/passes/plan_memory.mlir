// RUN: %sputnik-opt %s --split-input-file --verify-each --r1-plan-memory | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-plan-memory --r1-plan-memory | FileCheck %s
// RUN: %sputnik-opt %s --split-input-file --r1-plan-memory --remarks-filter=r1-plan-memory \
// RUN:   --remark-format=emitRemark -o %t 2>&1 | FileCheck %s --check-prefix=REMARK

// Rows of 80 bytes lie 128 apart. %2 takes the place of %0, which nothing reads
// any more; the returned value goes to the logits, unpadded.

// CHECK-LABEL: func.func @reuse
// CHECK-SAME:    r1.arena_bytes = 2048 : i64
// CHECK-NEXT:  r1.region "a" buffers([#r1.buffer<offset = 0, stride = 128>])
// CHECK:       r1.region "b" buffers([#r1.buffer<offset = 1024, stride = 128>])
// CHECK:       r1.region "c" buffers([#r1.buffer<offset = 0, stride = 128>])
// CHECK:       r1.region "d" buffers([#r1.buffer<offset = 0, stride = 80, logits = true>])
// REMARK: [Analysis] {{.*}}@reuse has an arena of 2048 bytes, 3072 without reuse; 0 results are in place
func.func @reuse(%x: tensor<?x20xf32>) -> tensor<?x20xf32>
    attributes {r1.phase = #r1.phase<verify, max_rows = 8>} {
  %0 = r1.region "a" -> (tensor<?x20xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x20xf32>
    r1.yield %9 : tensor<?x20xf32>
  }
  %1 = r1.region "b" -> (tensor<?x20xf32>) {
    %9 = r1.rms_norm %0 eps 1.0e-6 : tensor<?x20xf32>
    r1.yield %9 : tensor<?x20xf32>
  }
  %2 = r1.region "c" -> (tensor<?x20xf32>) {
    %9 = r1.rms_norm %1 eps 1.0e-6 : tensor<?x20xf32>
    r1.yield %9 : tensor<?x20xf32>
  }
  %3 = r1.region "d" -> (tensor<?x20xf32>) {
    %9 = r1.rms_norm %2 eps 1.0e-6 : tensor<?x20xf32>
    r1.yield %9 : tensor<?x20xf32>
  }
  return %3 : tensor<?x20xf32>
}

// -----

// A sum takes the place of an addend, but not while that is read as a whole,
// and not of one of another element size.

// CHECK-LABEL: func.func @in_place
// CHECK:       r1.region "a" buffers([#r1.buffer<offset = [[A:[0-9]+]], stride = 64>])
// CHECK:       r1.region "b" buffers([#r1.buffer<offset = [[B:[0-9]+]], stride = 64>])
// CHECK:       r1.region "sum" buffers([#r1.buffer<offset = [[A]], stride = 64>])
// CHECK:       r1.region "norm and sum" buffers([#r1.buffer<offset = [[B]], stride = 64>])
// CHECK:       r1.region "cast" buffers([#r1.buffer<offset = [[A]], stride = 64>])
// REMARK: [Analysis] {{.*}}@in_place has an arena of 128 bytes, 320 without reuse; 1 results are in place
func.func @in_place(%x: tensor<?x16xf32>) -> tensor<?x16xf32>
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.region "a" -> (tensor<?x16xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  %1 = r1.region "b" -> (tensor<?x16xf32>) {
    %9 = r1.rms_norm %0 eps 1.0e-6 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  %2 = r1.region "sum" -> (tensor<?x16xf32>) {
    %9 = r1.add %0, %1 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  %3 = r1.region "norm and sum" -> (tensor<?x16xf32>) {
    %8 = r1.rms_norm %2 eps 1.0e-6 : tensor<?x16xf32>
    %9 = r1.add %2, %8 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  %4 = r1.region "cast" -> (tensor<?x16xbf16>) {
    %9 = r1.cast %3 : tensor<?x16xf32> -> tensor<?x16xbf16>
    r1.yield %9 : tensor<?x16xbf16>
  }
  %5 = r1.region "logits" -> (tensor<?x16xf32>) {
    %9 = r1.linear %4, @w : tensor<?x16xbf16> -> tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  return %5 : tensor<?x16xf32>
}
r1.weight @w : tensor<16x16xf32> from [#r1.origin<"m", 0, 512, "bf16">]

// -----

// The residual stream is one buffer from before the loop to after it. What the
// loop reads from outside (the table) lives to its end; what is only read in
// one turn does not.

// CHECK-LABEL: func.func @stream
// CHECK:       r1.region "table" buffers([#r1.buffer<offset = [[T:[0-9]+]], stride = 64>])
// CHECK:       r1.region "before" buffers([#r1.buffer<offset = [[S:[0-9]+]], stride = 64>])
// CHECK:       r1.layers
// CHECK:       r1.region "norm" buffers([#r1.buffer<offset = [[U:[0-9]+]], stride = 64>])
// CHECK:       r1.region "rope" buffers([#r1.buffer<offset = [[V:[0-9]+]], stride = 64>])
// CHECK:       r1.region "middle" buffers([#r1.buffer<offset = [[S]], stride = 64>])
// CHECK:       r1.region "norm again" buffers([#r1.buffer<offset = [[W:[0-9]+]], stride = 64>])
// CHECK:       r1.region "end" buffers([#r1.buffer<offset = [[S]], stride = 64>])
// CHECK:       r1.region "after" buffers([#r1.buffer<offset = 0, stride = 64, logits = true>])
// REMARK: [Analysis] {{.*}}@stream has an arena of 256 bytes, 448 without reuse; 2 results are in place
func.func @stream(%x: tensor<?x16xf32>, %positions: tensor<?xi32>) -> tensor<?x16xf32>
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %t = r1.region "table" -> (tensor<?x4xf32>) {
    %9 = r1.rope_table %positions frequencies [1.0, 0.5] magnitude 1.0 : tensor<?xi32> -> tensor<?x4xf32>
    r1.yield %9 : tensor<?x4xf32>
  }
  %0 = r1.region "before" -> (tensor<?x16xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  %1 = r1.layers %0 count 2 first 0 : tensor<?x16xf32> {
  ^bb0(%layer: index, %y: tensor<?x16xf32>):
    %2 = r1.region "norm" -> (tensor<?x16xf32>) {
      %9 = r1.rms_norm %y eps 1.0e-6 : tensor<?x16xf32>
      r1.yield %9 : tensor<?x16xf32>
    }
    %3 = r1.region "rope" -> (tensor<?x16xf32>) {
      %9 = r1.rope %2, %t head_dim 4 : tensor<?x16xf32>, tensor<?x4xf32>
      r1.yield %9 : tensor<?x16xf32>
    }
    %4 = r1.region "middle" -> (tensor<?x16xf32>) {
      %9 = r1.add %y, %3 : tensor<?x16xf32>
      r1.yield %9 : tensor<?x16xf32>
    }
    %5 = r1.region "norm again" -> (tensor<?x16xf32>) {
      %9 = r1.rms_norm %4 eps 1.0e-6 : tensor<?x16xf32>
      r1.yield %9 : tensor<?x16xf32>
    }
    %6 = r1.region "end" -> (tensor<?x16xf32>) {
      %9 = r1.add %4, %5 : tensor<?x16xf32>
      r1.yield %9 : tensor<?x16xf32>
    }
    r1.yield %6 : tensor<?x16xf32>
  }
  %7 = r1.region "after" -> (tensor<?x16xf32>) {
    %9 = r1.rms_norm %1 eps 1.0e-6 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  return %7 : tensor<?x16xf32>
}

// -----

// The state lies at the start of the arena from the first region to the last,
// whatever is larger; so does the one that a draft is given.

// CHECK-LABEL: func.func @draft
// CHECK-SAME:    %[[STATE:[a-z0-9]*]]: tensor<?x20xf32> {r1.buffer = #r1.buffer<offset = 0, stride = 128>}) -> (tensor<?x20xf32>, tensor<?x20xf32>)
// CHECK:       r1.region "a" buffers([#r1.buffer<offset = 1024, stride = 256>])
// CHECK:       r1.region "b" buffers([#r1.buffer<offset = 3072, stride = 128>])
// CHECK:       r1.region "state" buffers([#r1.buffer<offset = 0, stride = 128>])
// CHECK:       r1.region "logits" buffers([#r1.buffer<offset = 0, stride = 80, logits = true>])
func.func @draft(%tokens: tensor<?xi32>, %slots: tensor<?xi32>, %positions: tensor<?xi32>, %outputs: tensor<?xi32>,
                 %cache: !r1.kv_cache<layers = 1, heads = 1, dim = 16, element = f32, positions = 16>,
                 %state: tensor<?x20xf32>) -> (tensor<?x20xf32>, tensor<?x20xf32>)
    attributes {r1.phase = #r1.phase<verify, max_rows = 8>} {
  %0 = r1.region "a" -> (tensor<?x64xf32>) {
    %9 = r1.embed %tokens, @wide : tensor<?xi32> -> tensor<?x64xf32>
    r1.yield %9 : tensor<?x64xf32>
  }
  %1 = r1.region "b" -> (tensor<?x20xf32>) {
    %9 = r1.linear %0, @down : tensor<?x64xf32> -> tensor<?x20xf32>
    %10 = r1.add %9, %state : tensor<?x20xf32>
    r1.yield %10 : tensor<?x20xf32>
  }
  %2 = r1.region "state" -> (tensor<?x20xf32>) {
    %9 = r1.rms_norm %1 eps 1.0e-6 : tensor<?x20xf32>
    r1.yield %9 : tensor<?x20xf32>
  }
  %3 = r1.region "logits" -> (tensor<?x20xf32>) {
    %9 = r1.rms_norm %2 eps 1.0e-6 : tensor<?x20xf32>
    r1.yield %9 : tensor<?x20xf32>
  }
  return %3, %2 : tensor<?x20xf32>, tensor<?x20xf32>
}
r1.derived @wide : tensor<8x64xf32, #r1.encoding<f32>> {
  %0 = r1.zero : tensor<8x64xf32>
  %1 = r1.encode %0 : tensor<8x64xf32> -> tensor<8x64xf32, #r1.encoding<f32>>
  r1.yield %1 : tensor<8x64xf32, #r1.encoding<f32>>
}
r1.derived @down : tensor<20x64xf32, #r1.encoding<f32>> {
  %0 = r1.zero : tensor<20x64xf32>
  %1 = r1.encode %0 : tensor<20x64xf32> -> tensor<20x64xf32, #r1.encoding<f32>>
  r1.yield %1 : tensor<20x64xf32, #r1.encoding<f32>>
}
