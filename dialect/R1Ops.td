//===- R1Ops.td - Operations of the r1 dialect ---------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Order: weights, weight programs, structure, graph. Ops of experts and of
// latent attention follow in files of their own.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_DIALECT_R1OPS
#define SPUTNIK_DIALECT_R1OPS

include "dialect/R1Attrs.td"
include "dialect/R1Interfaces.td"
include "dialect/R1Types.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class R1_Op<string mnemonic, list<Trait> traits = []>
    : Op<R1_Dialect, mnemonic, traits>;

class R1_RowsOf<list<Type> elements> : TensorOf<elements, [
    HasAnyRankOfPred<[2]>,
    CPred<"!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1)">],
  "rows of a known number of features">;
def R1_Rows : R1_RowsOf<[F32, BF16, I8]>;
def R1_FloatRows : R1_RowsOf<[F32]>;
def R1_Indices : 1DTensorOf<[I32]>;
def R1_WeightTensor : RankedTensorOf<[F32]>;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def R1_WeightOp : R1_Op<"weight", [Symbol, HasParent<"::mlir::ModuleOp">]> {
  let summary = "names a tensor of the checkpoint";
  let description = [{
    A weight as the checkpoint stores it: its logical type, and for each layer
    the place where it lies. Outside `r1.layers` there is one origin. Where the
    rows of a layer are stored in several tensors of equal size, such as those
    of experts, each of them is an origin.

    ```mlir
    r1.weight @q layers(2) : tensor<64x32xf32> from [
      #r1.origin<"model.safetensors", 1024, 4096, "bf16">,
      #r1.origin<"model.safetensors", 5120, 4096, "bf16">]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<R1_WeightTensor>:$type,
    TypedArrayAttrBase<R1_OriginAttr, "origins, layer by layer">:$origins,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$layers);
  let assemblyFormat = [{
    $sym_name (`layers` `(` $layers^ `)`)? `:` $type `from` $origins attr-dict
  }];
  let hasVerifier = 1;
}

def R1_DerivedOp : R1_Op<"derived", [Symbol, HasParent<"::mlir::ModuleOp">,
    SingleBlock, NoRegionArguments]> {
  let summary = "a weight made from other weights";
  let description = [{
    A weight program: its body says how one layer's value is made, tile by tile,
    while the image is written. The type of a weight that kernels read carries
    an `#r1.encoding`.

    ```mlir
    r1.derived @qkv layers(28) : tensor<2048x1536xf32, #r1.encoding<bf16, panel = 16, step = 2>> {
      %q = r1.read @q : tensor<1536x1536xf32>
      %k = r1.read @k : tensor<256x1536xf32>
      %v = r1.read @v : tensor<256x1536xf32>
      %0 = r1.concat %q, %k, %v : (tensor<1536x1536xf32>, tensor<256x1536xf32>, tensor<256x1536xf32>) -> tensor<2048x1536xf32>
      %1 = r1.encode %0 : tensor<2048x1536xf32> -> tensor<2048x1536xf32, #r1.encoding<bf16, panel = 16, step = 2>>
      r1.yield %1 : tensor<2048x1536xf32, #r1.encoding<bf16, panel = 16, step = 2>>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<R1_WeightTensor>:$type,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$layers,
    OptionalAttr<R1_PlacementAttr>:$placement);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name (`layers` `(` $layers^ `)`)? `:` $type
    (`at` $placement^)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Weight programs
//===----------------------------------------------------------------------===//

class R1_ProgramOp<string mnemonic, list<Trait> traits = []>
    : R1_Op<mnemonic, !listconcat([Pure, HasParent<"DerivedOp">], traits)>;

def R1_ReadOp : R1_ProgramOp<"read", [
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the value of another weight, dequantised";
  let description = [{
    The layer is the one that the program is being run for; a weight without
    layers has the same value for all.

    ```mlir
    %0 = r1.read @q : tensor<64x32xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def R1_ScaleColumnsOp : R1_ProgramOp<"scale_columns", [
    AllTypesMatch<["value", "result"]>]> {
  let summary = "multiplies column k by gain[k]";
  let description = [{
    ```mlir
    %1 = r1.scale_columns %0, %gain : tensor<64x32xf32>, tensor<32xf32>
    ```
  }];
  let arguments = (ins R1_WeightTensor:$value, 1DTensorOf<[F32]>:$gain);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = "$value `,` $gain attr-dict `:` type($value) `,` type($gain)";
  let hasVerifier = 1;
}

def R1_ConcatOp : R1_ProgramOp<"concat"> {
  let summary = "one under the other";
  let description = [{
    Rows of the first operand, then those of the second, and so on. With
    `block`, rows alternate instead: `block` rows of each operand in turn; the
    last block of each is filled up with zero rows. With `part`, that is done
    for each `part` rows of the operands by themselves.

    ```mlir
    %2 = r1.concat %gate, %up block 16 : (tensor<40x32xf32>, tensor<40x32xf32>) -> tensor<96x32xf32>
    %2 = r1.concat %gate, %up block 16 part 20 : (tensor<40x32xf32>, tensor<40x32xf32>) -> tensor<128x32xf32>
    ```
  }];
  let arguments = (ins Variadic<R1_WeightTensor>:$inputs,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$block,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$part);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = [{
    $inputs (`block` $block^)? (`part` $part^)? attr-dict
    `:` functional-type($inputs, $result)
  }];
  let hasFolder = 1;
  let hasVerifier = 1;
}

def R1_ZeroOp : R1_ProgramOp<"zero"> {
  let summary = "zeros";
  let description = [{
    Stands for the bias of a linear that has none, where it is merged with some
    that have.

    ```mlir
    %1 = r1.zero : tensor<32xf32>
    ```
  }];
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def R1_UnpermuteOp : R1_ProgramOp<"unpermute", [
    AllTypesMatch<["value", "result"]>]> {
  let summary = "undoes the row order for interleaved RoPE";
  let description = [{
    Inside each head of `head_dim` rows, result row r < head_dim/2 is row 2r of
    the operand and result row r + head_dim/2 is row 2r + 1.

    ```mlir
    %1 = r1.unpermute %0 head_dim 64 : tensor<128x32xf32>
    ```
  }];
  let arguments = (ins R1_WeightTensor:$value,
    ConfinedAttr<I64Attr, [IntPositive]>:$head_dim);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = "$value `head_dim` $head_dim attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def R1_SliceRowsOp : R1_ProgramOp<"slice_rows"> {
  let summary = "the same rows of every part";
  let description = [{
    Of each `part` rows of the operand, those from `first` on, as many as the
    result has room for: a part of each head, say.

    ```mlir
    %1 = r1.slice_rows %0 part 192 first 128 : tensor<384x32xf32> -> tensor<128x32xf32>
    ```
  }];
  let arguments = (ins R1_WeightTensor:$value,
    ConfinedAttr<I64Attr, [IntPositive]>:$part,
    ConfinedAttr<I64Attr, [IntNonNegative]>:$first);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = [{
    $value `part` $part `first` $first attr-dict `:` type($value) `->` type($result)
  }];
  let hasVerifier = 1;
}

def R1_SliceColumnsOp : R1_ProgramOp<"slice_columns"> {
  let summary = "consecutive columns";
  let description = [{
    Those from `first` on, as many as the result has room for.

    ```mlir
    %1 = r1.slice_columns %0 first 32 : tensor<48x64xf32> -> tensor<48x32xf32>
    ```
  }];
  let arguments = (ins R1_WeightTensor:$value,
    ConfinedAttr<I64Attr, [IntNonNegative]>:$first);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = [{
    $value `first` $first attr-dict `:` type($value) `->` type($result)
  }];
  let hasVerifier = 1;
}

def R1_TransposeOp : R1_ProgramOp<"transpose"> {
  let summary = "turns rows of every part into columns";
  let description = [{
    Each `part` rows of the operand become a matrix of `part` columns.

    ```mlir
    %1 = r1.transpose %0 part 16 : tensor<64x32xf32> -> tensor<128x16xf32>
    ```
  }];
  let arguments = (ins R1_WeightTensor:$value,
    ConfinedAttr<I64Attr, [IntPositive]>:$part);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = [{
    $value `part` $part attr-dict `:` type($value) `->` type($result)
  }];
  let hasVerifier = 1;
}

def R1_BlockScaleOp : R1_ProgramOp<"block_scale", [
    AllTypesMatch<["value", "result"]>]> {
  let summary = "multiplies each block by its scale";
  let description = [{
    Value [i, j] is multiplied by scale [i / rows, j / columns], where `block`
    gives rows and columns; blocks at the edge are cut. With `part`, blocks of
    rows start anew every `part` rows.

    ```mlir
    %1 = r1.block_scale %0, %scales block [128, 128] : tensor<576x512xf32>, tensor<5x4xf32>
    ```
  }];
  let arguments = (ins R1_WeightTensor:$value, R1_WeightTensor:$scales,
    DenseI64ArrayAttr:$block,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$part);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = [{
    $value `,` $scales `block` $block (`part` $part^)? attr-dict
    `:` type($value) `,` type($scales)
  }];
  let hasVerifier = 1;
}

def R1_EncodeOp : R1_ProgramOp<"encode"> {
  let summary = "stores values in an encoding";
  let description = [{
    ```mlir
    %1 = r1.encode %0 : tensor<64x32xf32> -> tensor<64x32xf32, #r1.encoding<bf16>>
    ```
  }];
  let arguments = (ins R1_WeightTensor:$value);
  let results = (outs R1_WeightTensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

def R1_YieldOp : R1_Op<"yield", [Pure, Terminator, ReturnLike,
    ParentOneOf<["DerivedOp", "LayersOp", "RegionOp"]>]> {
  let summary = "the values that a body gives";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

def R1_LayersOp : R1_Op<"layers", [SingleBlock,
    AllTypesMatch<["input", "result"]>, RecursiveMemoryEffects]> {
  let summary = "runs its body once per layer";
  let description = [{
    The residual stream goes through `count` layers. Layer 0 of this op is layer
    `first` of the KV cache; weights are read by the index counted from 0.

    ```mlir
    %1 = r1.layers %0 count 28 first 0 : tensor<?x1536xf32> {
    ^bb0(%layer: index, %x: tensor<?x1536xf32>):
      ...
      r1.yield %y : tensor<?x1536xf32>
    }
    ```
  }];
  let arguments = (ins R1_FloatRows:$input,
    ConfinedAttr<I64Attr, [IntPositive]>:$count,
    ConfinedAttr<I64Attr, [IntNonNegative]>:$first);
  let results = (outs R1_FloatRows:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $input `count` $count `first` $first attr-dict `:` type($input) $body
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::BlockArgument getLayer() { return getBody().getArgument(0); }
    ::mlir::BlockArgument getStream() { return getBody().getArgument(1); }
  }];
}

def R1_RegionOp : R1_Op<"region", [SingleBlock, NoRegionArguments,
    RecursiveMemoryEffects]> {
  let summary = "what one kernel computes";
  let description = [{
    One parallel phase on the CPU, one kernel on the GPU. Results are written
    where `buffers` says, threads share the work as `partition` says; passes
    fill both in.

    ```mlir
    %1 = r1.region "ffn_down" partition(#r1.partition<features, granule = 16>)
        buffers([#r1.buffer<offset = 0, stride = 6144>]) -> (tensor<?x1536xf32>) {
      %2 = r1.linear %h, @down[%layer] : tensor<?x8960xf32> -> tensor<?x1536xf32>
      %3 = r1.add %2, %x : tensor<?x1536xf32>
      r1.yield %3 : tensor<?x1536xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$name, OptionalAttr<R1_PartitionAttr>:$partition,
    OptionalAttr<TypedArrayAttrBase<R1_BufferAttr, "one buffer per result">>:$buffers);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $name (`partition` `(` $partition^ `)`)? (`buffers` `(` $buffers^ `)`)?
    (`->` `(` type($results)^ `)`)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

class R1_GraphOp<string mnemonic, list<Trait> traits = []>
    : R1_Op<mnemonic, !listconcat([
        DeclareOpInterfaceMethods<R1_GraphOpInterface>], traits)>;

class R1_PureGraphOp<string mnemonic, list<Trait> traits = []>
    : R1_GraphOp<mnemonic, !listconcat([Pure], traits)>;

defvar R1_ReadsWeights = [
  DeclareOpInterfaceMethods<R1_WeightUserInterface>,
  DeclareOpInterfaceMethods<SymbolUserOpInterface>];

def R1_EmbedOp : R1_PureGraphOp<"embed", R1_ReadsWeights> {
  let summary = "looks up token embeddings";
  let description = [{
    Row r of the result is row tokens[r] of the weight.

    ```mlir
    %0 = r1.embed %tokens, @embed : tensor<?xi32> -> tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins R1_Indices:$tokens, FlatSymbolRefAttr:$weight);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = "$tokens `,` $weight attr-dict `:` type($tokens) `->` type($result)";
}

def R1_RMSNormOp : R1_Op<"rms_norm", !listconcat(R1_ReadsWeights, [Pure,
    AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<R1_GraphOpInterface, ["getHeadSize"]>])> {
  let summary = "root mean square normalisation";
  let description = [{
    y = x / sqrt(mean(x^2) + eps) * gain, over the whole row, or over each head
    of `head_dim` features with a gain that all heads share. Without a weight
    the gain is 1. Reductions are in f32.

    ```mlir
    %1 = r1.rms_norm %0, @norm[%layer] eps 1.0e-06 : tensor<?x1536xf32>
    %2 = r1.rms_norm %q, @q_norm[%layer] head_dim 128 eps 1.0e-06 : tensor<?x4096xf32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$input, OptionalAttr<FlatSymbolRefAttr>:$weight,
    Optional<Index>:$layer, F32Attr:$eps,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$head_dim);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $input (`,` $weight^ (`[` $layer^ `]`)?)? (`head_dim` $head_dim^)? `eps` $eps
    attr-dict `:` type($input)
  }];
  let hasVerifier = 1;
}

def R1_LinearOp : R1_PureGraphOp<"linear", !listconcat(R1_ReadsWeights, [
    DeclareOpInterfaceMethods<R1_ProductInterface,
                              ["getRoundableRows", "getInnerFeatures"]>])> {
  let summary = "product with a weight: y = W x + b";
  let description = [{
    Row-wise product with a weight of shape [out, in], sums in f32. The weight
    may have more rows than the result has features where an encoding or a
    blockwise `r1.concat` fills up with zero rows. A `precise` linear takes its
    rows in f32 and its weight in bf16 or better, whatever others do: a choice
    is made by its result.

    ```mlir
    %1 = r1.linear %0, @qkv[%layer] bias @qkv_bias : tensor<?x1536xf32> -> tensor<?x2048xf32>
    ```
  }];
  let arguments = (ins R1_Rows:$input, FlatSymbolRefAttr:$weight,
    Optional<Index>:$layer, OptionalAttr<FlatSymbolRefAttr>:$bias,
    UnitAttr:$precise);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $input `,` $weight (`[` $layer^ `]`)? (`bias` $bias^)?
    (`precise` $precise^)? attr-dict `:` type($input) `->` type($result)
  }];
}

def R1_SplitOp : R1_PureGraphOp<"split"> {
  let summary = "features of one row, taken apart";
  let description = [{
    The opposite of `r1.concat` on weight rows: consecutive ranges of features,
    or, with `block`, blocks of features in turn.

    ```mlir
    %q, %k, %v = r1.split %0 : tensor<?x2048xf32> -> tensor<?x1536xf32>, tensor<?x256xf32>, tensor<?x256xf32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$input,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$block);
  let results = (outs Variadic<R1_FloatRows>:$results);
  let assemblyFormat = [{
    $input (`block` $block^)? attr-dict `:` type($input) `->` type($results)
  }];
  let hasFolder = 1;
  let hasVerifier = 1;
}

def R1_RopeTableOp : R1_PureGraphOp<"rope_table"> {
  let summary = "cosines and sines of all rotary angles";
  let description = [{
    Row r holds cos(p f_i) * magnitude for all pairs i, then sin(p f_i) *
    magnitude, where p = positions[r] and f_i are the frequencies in radians per
    position, whatever scaling rule made them. Angles are formed in f64.

    ```mlir
    %t = r1.rope_table %positions frequencies [1.0, 0.1] magnitude 1.0 : tensor<?xi32> -> tensor<?x4xf32>
    ```
  }];
  let arguments = (ins R1_Indices:$positions, DenseF64ArrayAttr:$frequencies,
                       F32Attr:$magnitude);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $positions `frequencies` custom<Frequencies>($frequencies) `magnitude` $magnitude attr-dict
    `:` type($positions) `->` type($result)
  }];
  let hasVerifier = 1;
}

def R1_RopeOp : R1_Op<"rope", [Pure,
    AllTypesMatch<["input", "result"]>,
    DeclareOpInterfaceMethods<R1_GraphOpInterface, ["getHeadSize"]>]> {
  let summary = "rotary position embedding, rotate-half";
  let description = [{
    In each head of `head_dim` = D features, pairs (i, i + D/2) turn by the
    angle of `r1.rope_table`.

    ```mlir
    %1 = r1.rope %q, %table head_dim 128 : tensor<?x1536xf32>, tensor<?x128xf32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$input, R1_FloatRows:$table,
    ConfinedAttr<I64Attr, [IntPositive]>:$head_dim);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $input `,` $table `head_dim` $head_dim attr-dict `:` type($input) `,` type($table)
  }];
  let hasVerifier = 1;
}

def R1_KVAppendOp : R1_Op<"kv_append", [
    AttrSizedOperandSegments, MemoryEffects<[MemWrite]>,
    DeclareOpInterfaceMethods<R1_GraphOpInterface, ["getHeadSize"]>]> {
  let summary = "writes keys and values of the rows into the cache";
  let description = [{
    Row r of the keys (values) goes to position positions[r] of slot slots[r] in
    the given layer. Either may be absent, where they are written apart.

    ```mlir
    r1.kv_append %cache[%layer] keys %k values %v at %slots, %positions
      : !r1.kv_cache<...>, tensor<?x256xf32>, tensor<?x256xf32>
    ```
  }];
  let arguments = (ins R1_KVCacheType:$cache, Index:$layer,
    Optional<R1_FloatRows>:$keys, Optional<R1_FloatRows>:$values,
    R1_Indices:$slots, R1_Indices:$positions);
  let assemblyFormat = [{
    $cache `[` $layer `]` (`keys` $keys^ `:` type($keys))?
    (`values` $values^ `:` type($values))?
    `at` $slots `,` $positions `:` type($cache) `,` type($slots) `,` type($positions) attr-dict
  }];
  let hasVerifier = 1;
}

def R1_AttentionOp : R1_GraphOp<"attention", [
    MemoryEffects<[MemRead]>, AllTypesMatch<["query", "result"]>]> {
  let summary = "causal grouped-query attention over the cache";
  let description = [{
    For row r and query head h: softmax over positions 0..positions[r] of slot
    slots[r] of (q_h . k) * scale, times the values. Query head h reads KV head
    h / (query heads / KV heads). Scores and sums are in f32.

    ```mlir
    %1 = r1.attention %q, %cache[%layer] at %slots, %positions scale 0.0883883461
      : tensor<?x1536xf32>, !r1.kv_cache<...>, tensor<?xi32>, tensor<?xi32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$query, R1_KVCacheType:$cache, Index:$layer,
    R1_Indices:$slots, R1_Indices:$positions, F32Attr:$scale);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $query `,` $cache `[` $layer `]` `at` $slots `,` $positions `scale` $scale
    attr-dict `:` type($query) `,` type($cache) `,` type($slots) `,` type($positions)
  }];
  let hasVerifier = 1;
}

def R1_SwiGLUOp : R1_PureGraphOp<"swiglu", [
    SameOperandsAndResultType]> {
  let summary = "gated activation: silu(gate) * up";
  let description = [{
    silu(z) = z / (1 + exp(-z)).

    ```mlir
    %1 = r1.swiglu %gate, %up : tensor<?x8960xf32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$gate, R1_FloatRows:$up);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = "$gate `,` $up attr-dict `:` type($result)";
}

def R1_AddOp : R1_PureGraphOp<"add", [Commutative, SameOperandsAndResultType]> {
  let summary = "elementwise sum";
  let description = [{
    ```mlir
    %2 = r1.add %0, %1 : tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$lhs, R1_FloatRows:$rhs);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

def R1_CastOp : R1_PureGraphOp<"cast"> {
  let summary = "rounds activations to the type a dot primitive takes";
  let description = [{
    To nearest, ties to even. To i8, each group of 256 features gets the scale
    that takes its largest magnitude to 127.

    ```mlir
    %1 = r1.cast %0 : tensor<?x1536xf32> -> tensor<?x1536xbf16>
    ```
  }];
  let arguments = (ins R1_FloatRows:$input);
  let results = (outs R1_Rows:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def R1_SelectRowsOp : R1_PureGraphOp<"select_rows", [
    AllTypesMatch<["input", "result"]>]> {
  let summary = "the rows whose logits are wanted";
  let description = [{
    Row i of the result is row rows[i] of the input.

    ```mlir
    %1 = r1.select_rows %0, %outputs : tensor<?x1536xf32>, tensor<?xi32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$input, R1_Indices:$rows);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = "$input `,` $rows attr-dict `:` type($input) `,` type($rows)";
}

include "dialect/R1ExpertOps.td"
include "dialect/R1LatentOps.td"

#endif // SPUTNIK_DIALECT_R1OPS
