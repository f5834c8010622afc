// RUN: %sputnik-opt %s --split-input-file --verify-diagnostics --r1-place-weights

r1.weight @w : tensor<8xf32> from [#r1.origin<"m", 0, 16, "bf16">]
func.func @plain(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{@w has no encoding, so it has no place in the image; r1-encode-weights gives it one}}
  %0 = r1.rms_norm %x, @w eps 1.0e-6 : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

!v = tensor<8xf32, #r1.encoding<f32>>
r1.weight @stored : tensor<8xf32> from [#r1.origin<"m", 0, 16, "bf16">]
r1.derived @w layers(2) : !v {
  %0 = r1.read @stored : tensor<8xf32>
  %1 = r1.encode %0 : tensor<8xf32> -> !v
  r1.yield %1 : !v
}
func.func @no_loop(%x: tensor<?x8xf32>, %layer: index) -> tensor<?x8xf32> {
  // expected-error @+1 {{needs the layer of an r1.layers}}
  %0 = r1.rms_norm %x, @w[%layer] eps 1.0e-6 : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

!v = tensor<8xf32, #r1.encoding<f32>>
r1.weight @stored : tensor<8xf32> from [#r1.origin<"m", 0, 16, "bf16">]
r1.derived @w layers(2) : !v {
  %0 = r1.read @stored : tensor<8xf32>
  %1 = r1.encode %0 : tensor<8xf32> -> !v
  r1.yield %1 : !v
}
func.func @other_count(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = r1.layers %x count 3 first 0 : tensor<?x8xf32> {
  ^bb0(%layer: index, %y: tensor<?x8xf32>):
    // expected-error @+1 {{@w has 2 layers in a loop over 3}}
    %1 = r1.rms_norm %y, @w[%layer] eps 1.0e-6 : tensor<?x8xf32>
    r1.yield %1 : tensor<?x8xf32>
  }
  return %0 : tensor<?x8xf32>
}

// -----

!v = tensor<1099511627776xf32, #r1.encoding<f32>>
r1.weight @stored : tensor<1099511627776xf32> from [#r1.origin<"m", 0, 16, "bf16">]
// expected-error @+1 {{the image would have more than 2^63 bytes}}
r1.derived @w layers(4194304) : !v {
  %0 = r1.read @stored : tensor<1099511627776xf32>
  %1 = r1.encode %0 : tensor<1099511627776xf32> -> !v
  r1.yield %1 : !v
}
func.func @too_large(%x: tensor<?x1099511627776xf32>) -> tensor<?x1099511627776xf32> {
  %0 = r1.layers %x count 4194304 first 0 : tensor<?x1099511627776xf32> {
  ^bb0(%layer: index, %y: tensor<?x1099511627776xf32>):
    %1 = r1.rms_norm %y, @w[%layer] eps 1.0e-6 : tensor<?x1099511627776xf32>
    r1.yield %1 : tensor<?x1099511627776xf32>
  }
  return %0 : tensor<?x1099511627776xf32>
}
