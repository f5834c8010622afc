// RUN: %sputnik-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{panel must be between 1 and 256, found 0}}
func.func private @encoding() -> tensor<4x4xf32, #r1.encoding<f32, panel = 0>>

// -----

// expected-error @+1 {{step must be between 1 and 64, found 65}}
func.func private @encoding() -> tensor<4x4xf32, #r1.encoding<f32, step = 65>>

// -----

// expected-error @+1 {{vector_bits must be a power of two of at least 128, found 384}}
func.func private @target() attributes {r1.target = #r1.target<"t", "c", "",
    vector_bits = 384, vector_registers = 32, bf16_dot = fma, l1 = 1, l2 = 1, l3 = 0, cores = 1>}

// -----

// expected-error @+1 {{vector_registers must be at least 8, found 4}}
func.func private @target() attributes {r1.target = #r1.target<"t", "c", "",
    vector_bits = 128, vector_registers = 4, bf16_dot = fma, l1 = 1, l2 = 1, l3 = 0, cores = 1>}

// -----

// expected-error @+1 {{caches and cores must be positive}}
func.func private @target() attributes {r1.target = #r1.target<"t", "c", "",
    vector_bits = 128, vector_registers = 16, bf16_dot = fma, l1 = 1, l2 = 1, l3 = 0, cores = 0>}

// -----

// expected-error @+1 {{layers, heads, dim and positions must be positive}}
func.func private @cache() -> !r1.kv_cache<layers = 0, heads = 1, dim = 16, element = f32, positions = 16>

// -----

// expected-error @+1 {{positions must be a multiple of 16, found 20}}
func.func private @cache() -> !r1.kv_cache<layers = 1, heads = 1, dim = 16, element = f32, positions = 20>

// -----

// expected-error @+1 {{element must be f32, bf16 or i8, found 'f64'}}
func.func private @cache() -> !r1.kv_cache<layers = 1, heads = 1, dim = 16, element = f64, positions = 16>

// -----

// expected-error @+1 {{i8 needs keys and values of a multiple of 16 features, found 24}}
func.func private @cache() -> !r1.kv_cache<layers = 1, heads = 1, dim = 24, element = i8, positions = 16>

// -----

// expected-error @+1 {{i8 needs keys and values of a multiple of 16 features, found latents}}
func.func private @cache() -> !r1.kv_cache<layers = 1, heads = 1, dim = 32, element = i8, positions = 16, latent = 16>

// -----

// expected-error @+1 {{needs a static shape of rank 1 or 2, found 'tensor<2x2x2xf32>'}}
r1.weight @w : tensor<2x2x2xf32> from [#r1.origin<"m", 0, 32, "f32">]

// -----

// expected-error @+1 {{needs a static shape of rank 1 or 2, found 'tensor<?xf32>'}}
r1.weight @w : tensor<?xf32> from [#r1.origin<"m", 0, 32, "f32">]

// -----

// expected-error @+1 {{names a stored tensor, which has no encoding; r1.derived makes one}}
r1.weight @w : tensor<8xf32, #r1.encoding<f32>> from [#r1.origin<"m", 0, 32, "f32">]

// -----

// expected-error @+1 {{has 1 origins for 2 layers}}
r1.weight @w layers(2) : tensor<8xf32> from [#r1.origin<"m", 0, 32, "f32">]

// -----

// expected-error @+1 {{body must yield one value of type 'tensor<8xf32>'}}
r1.derived @w : tensor<8xf32> {
  %0 = r1.zero : tensor<9xf32>
  r1.yield %0 : tensor<9xf32>
}

// -----

r1.derived @w : tensor<8xf32> {
  // expected-error @+1 {{@nothing is not a weight}}
  %0 = r1.read @nothing : tensor<8xf32>
  r1.yield %0 : tensor<8xf32>
}

// -----

r1.derived @w : tensor<8xf32> {
  // expected-error @+1 {{reads the weight it defines}}
  %0 = r1.read @w : tensor<8xf32>
  r1.yield %0 : tensor<8xf32>
}

// -----

r1.weight @stacked layers(2) : tensor<8xf32> from [#r1.origin<"m", 0, 32, "f32">, #r1.origin<"m", 0, 32, "f32">]
r1.derived @w layers(3) : tensor<8xf32> {
  // expected-error @+1 {{@stacked has 2 layers, the program 3}}
  %0 = r1.read @stacked : tensor<8xf32>
  r1.yield %0 : tensor<8xf32>
}

// -----

r1.weight @stored : tensor<8xf32> from [#r1.origin<"m", 0, 32, "f32">]
r1.derived @w : tensor<9xf32> {
  // expected-error @+1 {{gives 'tensor<9xf32>', but @stored is 'tensor<8xf32>'}}
  %0 = r1.read @stored : tensor<9xf32>
  r1.yield %0 : tensor<9xf32>
}

// -----

r1.derived @w : tensor<8x8xf32> {
  %0 = r1.zero : tensor<8x8xf32>
  %1 = r1.zero : tensor<4xf32>
  // expected-error @+1 {{needs one gain per column, found 'tensor<4xf32>' for 'tensor<8x8xf32>'}}
  %2 = r1.scale_columns %0, %1 : tensor<8x8xf32>, tensor<4xf32>
  r1.yield %2 : tensor<8x8xf32>
}

// -----

r1.derived @w : tensor<16x8xf32> {
  %0 = r1.zero : tensor<8x8xf32>
  %1 = r1.zero : tensor<8x4xf32>
  // expected-error @+1 {{operand 'tensor<8x4xf32>' does not fit under result 'tensor<16x8xf32>'}}
  %2 = r1.concat %0, %1 : (tensor<8x8xf32>, tensor<8x4xf32>) -> tensor<16x8xf32>
  r1.yield %2 : tensor<16x8xf32>
}

// -----

r1.derived @w : tensor<17x8xf32> {
  %0 = r1.zero : tensor<8x8xf32>
  // expected-error @+1 {{has 16 rows, but its result 17}}
  %1 = r1.concat %0, %0 : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<17x8xf32>
  r1.yield %1 : tensor<17x8xf32>
}

// -----

r1.derived @w : tensor<32x8xf32> {
  %0 = r1.zero : tensor<8x8xf32>
  %1 = r1.zero : tensor<9x8xf32>
  // expected-error @+1 {{with a block needs operands of one type}}
  %2 = r1.concat %0, %1 block 16 : (tensor<8x8xf32>, tensor<9x8xf32>) -> tensor<32x8xf32>
  r1.yield %2 : tensor<32x8xf32>
}

// -----

r1.derived @w : tensor<20x8xf32> {
  %0 = r1.zero : tensor<20x8xf32>
  // expected-error @+1 {{needs whole heads of an even size, found 20 rows in heads of 8}}
  %1 = r1.unpermute %0 head_dim 8 : tensor<20x8xf32>
  r1.yield %1 : tensor<20x8xf32>
}

// -----

r1.derived @w : tensor<8x8xf32> {
  %0 = r1.zero : tensor<8x8xf32>
  // expected-error @+1 {{needs a plain value and the same shape with an encoding, found 'tensor<8x8xf32>' and 'tensor<8x8xf32>'}}
  %1 = r1.encode %0 : tensor<8x8xf32> -> tensor<8x8xf32>
  r1.yield %1 : tensor<8x8xf32>
}
