// RUN: %sputnik-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{has 3 origins for 2 layers}}
r1.weight @w layers(2) : tensor<32x8xf32> from [#r1.origin<"m", 0, 1, "f32">, #r1.origin<"m", 0, 1, "f32">, #r1.origin<"m", 0, 1, "f32">]

// -----

// expected-error@+1 {{has 32 rows, which do not fall into 3 origins}}
r1.weight @w : tensor<32x8xf32> from [#r1.origin<"m", 0, 1, "f32">, #r1.origin<"m", 0, 1, "f32">, #r1.origin<"m", 0, 1, "f32">]

// -----

r1.weight @w : tensor<200x130xf32> from [#r1.origin<"m", 0, 1, "f32">]
r1.weight @s : tensor<2x1xf32> from [#r1.origin<"m", 0, 1, "f32">]
r1.derived @d : tensor<200x130xf32> {
  %0 = r1.read @w : tensor<200x130xf32>
  %1 = r1.read @s : tensor<2x1xf32>
  // expected-error@+1 {{needs 2 by 2 scales, found 'tensor<2x1xf32>'}}
  %2 = r1.block_scale %0, %1 block [128, 128] : tensor<200x130xf32>, tensor<2x1xf32>
  r1.yield %2 : tensor<200x130xf32>
}

// -----

r1.weight @w : tensor<48x8xf32> from [#r1.origin<"m", 0, 1, "f32">]
r1.derived @d : tensor<20x8xf32> {
  %0 = r1.read @w : tensor<48x8xf32>
  // expected-error@+1 {{cannot take 'tensor<20x8xf32>' from row 16 of parts of 24 of 'tensor<48x8xf32>'}}
  %1 = r1.slice_rows %0 part 24 first 16 : tensor<48x8xf32> -> tensor<20x8xf32>
  r1.yield %1 : tensor<20x8xf32>
}

// -----

r1.weight @w : tensor<48x8xf32> from [#r1.origin<"m", 0, 1, "f32">]
r1.derived @d : tensor<48x4xf32> {
  %0 = r1.read @w : tensor<48x8xf32>
  // expected-error@+1 {{cannot take 'tensor<48x4xf32>' from column 5 of 'tensor<48x8xf32>'}}
  %1 = r1.slice_columns %0 first 5 : tensor<48x8xf32> -> tensor<48x4xf32>
  r1.yield %1 : tensor<48x4xf32>
}

// -----

r1.weight @w : tensor<48x8xf32> from [#r1.origin<"m", 0, 1, "f32">]
r1.derived @d : tensor<8x48xf32> {
  %0 = r1.read @w : tensor<48x8xf32>
  // expected-error@+1 {{does not give 'tensor<8x48xf32>' for parts of 24 rows of 'tensor<48x8xf32>'}}
  %1 = r1.transpose %0 part 24 : tensor<48x8xf32> -> tensor<8x48xf32>
  r1.yield %1 : tensor<8x48xf32>
}

// -----

r1.weight @bias : tensor<8xf32> from [#r1.origin<"m", 0, 1, "f32">]
func.func @groups(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{needs groups of two experts or more, found 8 experts in 8 groups}}
  %0, %1 = r1.route %x, @bias groups 8 keep 2 scale 1.0 : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

r1.weight @bias : tensor<8xf32> from [#r1.origin<"m", 0, 1, "f32">]
func.func @too_many(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{cannot choose 3 experts of 1 groups of 2}}
  %0, %1 = r1.route %x, @bias groups 4 keep 1 scale 1.0 : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x3xf32>
  return
}

// -----

r1.weight @down : tensor<64x24xf32> from [#r1.origin<"m", 0, 1, "f32">]
func.func @rows(%x: tensor<?x48xf32>, %c: tensor<?x2xi32>, %f: tensor<?x2xf32>) {
  // expected-error@+1 {{@down is 'tensor<64x24xf32>', expected shape [32, 24] in each of 4 parts}}
  %0 = r1.experts_down %x, %c, %f, @down experts 4 : tensor<?x48xf32>, tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x32xf32>
  return
}

// -----

r1.weight @gate : tensor<64x24xf32> from [#r1.origin<"m", 0, 1, "f32">]
func.func @halves(%x: tensor<?x24xf32>, %c: tensor<?x2xi32>) {
  // expected-error@+1 {{needs either up or a block}}
  %0 = r1.experts_up %x, %c, @gate experts 4 : tensor<?x24xf32>, tensor<?x2xi32> -> tensor<?x32xf32>
  return
}

// -----

func.func @append(%l: tensor<?x20xf32>, %k: tensor<?x8xf32>, %i: tensor<?xi32>, %layer: index,
    %cache: !r1.kv_cache<layers = 1, heads = 1, dim = 32, element = f32, positions = 16, latent = 24>) {
  // expected-error@+1 {{cannot write 20 and 8 features to}}
  r1.latent_append %cache[%layer] %l, %k at %i, %i : !r1.kv_cache<layers = 1, heads = 1, dim = 32, element = f32, positions = 16, latent = 24>, tensor<?x20xf32>, tensor<?x8xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

// expected-error@+1 {{latent must be at most dim, with one head, found 24 of 32 with 2 heads}}
func.func private @cache(!r1.kv_cache<layers = 1, heads = 2, dim = 32, element = f32, positions = 16, latent = 24>)
