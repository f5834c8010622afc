// RUN: %sputnik-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<?x?xf32>) {
  // expected-error @+1 {{operand #0 must be rows of a known number of features}}
  %0 = r1.rms_norm %x eps 1.0e-6 : tensor<?x?xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{@nothing is not a weight}}
  %0 = r1.linear %x, @nothing : tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

r1.weight @w : tensor<8x9xf32> from [#r1.origin<"m", 0, 288, "f32">]
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{@w is 'tensor<8x9xf32>', expected shape [8, 8]}}
  %0 = r1.linear %x, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

r1.weight @w : tensor<8x8xf32> from [#r1.origin<"m", 0, 256, "f32">]
func.func @f(%x: tensor<?x8xf32>, %layer: index) {
  // expected-error @+1 {{@w has no layers}}
  %0 = r1.linear %x, @w[%layer] : tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

r1.weight @w layers(1) : tensor<8x8xf32> from [#r1.origin<"m", 0, 256, "f32">]
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{@w is stacked: needs a layer}}
  %0 = r1.linear %x, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

r1.weight @w : tensor<8x8xf32> from [#r1.origin<"m", 0, 256, "f32">]
r1.weight @b : tensor<4xf32> from [#r1.origin<"m", 0, 16, "f32">]
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{@b is 'tensor<4xf32>', expected shape [8]}}
  %0 = r1.linear %x, @w bias @b : tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

r1.weight @w : tensor<8xf32> from [#r1.origin<"m", 0, 32, "f32">]
func.func @f(%tokens: tensor<?xi32>) {
  // expected-error @+1 {{@w is not a matrix}}
  %0 = r1.embed %tokens, @w : tensor<?xi32> -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{needs eps of at least 0}}
  %0 = r1.rms_norm %x eps -1.0 : tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{needs whole heads, found 8 features in heads of 3}}
  %0 = r1.rms_norm %x head_dim 3 eps 1.0e-6 : tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{gives 7 features of 8}}
  %0, %1 = r1.split %x : tensor<?x8xf32> -> tensor<?x3xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{with a block needs results of one type}}
  %0, %1 = r1.split %x block 4 : tensor<?x8xf32> -> tensor<?x3xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%positions: tensor<?xi32>) {
  // expected-error @+1 {{gives 6 features for 2 frequencies, expected twice as many}}
  %0 = r1.rope_table %positions frequencies [1.0, 0.5] magnitude 1.0 : tensor<?xi32> -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %t: tensor<?x2xf32>) {
  // expected-error @+1 {{needs whole heads of an even size and a table of that size, found 8 features, heads of 4, a table of 2}}
  %0 = r1.rope %x, %t head_dim 4 : tensor<?x8xf32>, tensor<?x2xf32>
  return
}

// -----

!cache = !r1.kv_cache<layers = 1, heads = 2, dim = 4, element = f32, positions = 16>
func.func @f(%i: tensor<?xi32>, %cache: !cache, %layer: index) {
  // expected-error @+1 {{needs keys or values}}
  r1.kv_append %cache[%layer] at %i, %i : !cache, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

!cache = !r1.kv_cache<layers = 1, heads = 2, dim = 4, element = f32, positions = 16>
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?xi32>, %cache: !cache, %layer: index) {
  // expected-error @+1 {{needs 8 features, found 4}}
  r1.kv_append %cache[%layer] values %x : tensor<?x4xf32> at %i, %i : !cache, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

!cache = !r1.kv_cache<layers = 1, heads = 2, dim = 4, element = f32, positions = 16>
func.func @f(%x: tensor<?x12xf32>, %i: tensor<?xi32>, %cache: !cache, %layer: index) {
  // expected-error @+1 {{needs a multiple of 8 features, found 12}}
  %0 = r1.attention %x, %cache[%layer] at %i, %i scale 0.5 : tensor<?x12xf32>, !cache, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{changes the shape}}
  %0 = r1.cast %x : tensor<?x8xf32> -> tensor<?x4xbf16>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{body must take the layer and the residual stream}}
  %0 = r1.layers %x count 2 first 0 : tensor<?x8xf32> {
  ^bb0(%layer: index):
    r1.yield %x : tensor<?x8xf32>
  }
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{body must yield the residual stream}}
  %0 = r1.layers %x count 2 first 0 : tensor<?x8xf32> {
  ^bb0(%layer: index, %y: tensor<?x8xf32>):
    r1.yield
  }
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{body must yield the results}}
  %0 = r1.region "r" -> (tensor<?x8xf32>) {
    r1.yield
  }
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{has 0 buffers for 1 results}}
  %0 = r1.region "r" buffers([]) -> (tensor<?x8xf32>) {
    r1.yield %x : tensor<?x8xf32>
  }
  return
}
