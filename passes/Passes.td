//===- Passes.td - Passes on the r1 dialect ------------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One def per pass, in the order in which r1-pipeline runs them. FooBarPass is
// implemented in FooBar.cpp. Every pass reports what it decided, and why, as
// remarks of a category with the name of its flag.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_PASSES_PASSES
#define SPUTNIK_PASSES_PASSES

include "mlir/Pass/PassBase.td"

class R1_SchemeOption<string description>
    : Option<"scheme", "scheme", "::sputnik::r1::Scheme",
        "::sputnik::r1::Scheme::F32", description, [{::llvm::cl::values(
          clEnumValN(::sputnik::r1::Scheme::F32, "f32", "32-bit floats"),
          clEnumValN(::sputnik::r1::Scheme::BF16, "bf16", "bfloat16"),
          clEnumValN(::sputnik::r1::Scheme::Q8, "q8", "8 bits, blocks of 32"),
          clEnumValN(::sputnik::r1::Scheme::Q4, "q4", "4 bits, blocks of 32, non-linear"),
          clEnumValN(::sputnik::r1::Scheme::Q4Plain, "q4_plain", "4 bits, blocks of 32, linear"),
          clEnumValN(::sputnik::r1::Scheme::FP8, "fp8", "8-bit floats (E4M3), blocks of 128"))}]>;

class R1_OverridesOption<string more>
    : ListOption<"overrides", "overrides", "std::string",
        "other schemes for some matrices, as pattern=scheme; patterns are globs "
        "on the names that ops read, the first that fits wins" # more>;

class R1_Pass<string flag, string anchor = "::mlir::ModuleOp">
    : Pass<flag, anchor> {
  let dependentDialects = ["::sputnik::r1::R1Dialect"];
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

def MergeLinearsPass : R1_Pass<"r1-merge-linears"> {
  let summary = "Make one linear of those that read the same rows";
  let description = [{
    Linears of one block with the same input and layer become one, on a weight
    that stacks theirs. Input rows are then read once, and one region takes the
    place of several.

    ```mlir
    %q = r1.linear %0, @attn_q[%layer] : tensor<?x32xf32> -> tensor<?x64xf32>
    %k = r1.linear %0, @attn_k[%layer] : tensor<?x32xf32> -> tensor<?x32xf32>
    ```
    becomes
    ```mlir
    r1.derived @attn_q_k layers(28) : tensor<96x32xf32> {
      %a = r1.read @attn_q : tensor<64x32xf32>
      %b = r1.read @attn_k : tensor<32x32xf32>
      %c = r1.concat %a, %b : (tensor<64x32xf32>, tensor<32x32xf32>) -> tensor<96x32xf32>
      r1.yield %c : tensor<96x32xf32>
    }
    %1 = r1.linear %0, @attn_q_k[%layer] : tensor<?x32xf32> -> tensor<?x96xf32>
    %q, %k = r1.split %1 : tensor<?x96xf32> -> tensor<?x64xf32>, tensor<?x32xf32>
    ```

    The two linears that feed one `r1.swiglu` are merged with `block`, so that a
    panel of gate rows is followed by the same rows of up and both factors of a
    feature are at hand where the product is formed. Where only some of the
    linears have a bias, `r1.zero` stands for the others.
  }];
  let options = [
    Option<"block", "block", "int64_t", "16",
           "rows of gate and of up in turn; best the panel of the packed weight">];
  let statistics = [
    Statistic<"numMerged", "num-merged", "Linears that went into others">];
}

def FoldNormGainsPass : R1_Pass<"r1-fold-norm-gains"> {
  let summary = "Move the gains of RMSNorm into the weights of the linears that follow";
  let description = [{
    A gain multiplies feature k of the normalised row, the linear multiplies
    that by column k of its weight: one product can be formed at compile time.

    ```mlir
    %1 = r1.rms_norm %0, @attn_norm[%layer] eps 1.0e-06 : tensor<?x32xf32>
    %2 = r1.linear %1, @q[%layer] : tensor<?x32xf32> -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    r1.derived @q layers(28) : tensor<64x32xf32> {
      %w = r1.read @q.source : tensor<64x32xf32>
      %g = r1.read @attn_norm : tensor<32xf32>
      %s = r1.scale_columns %w, %g : tensor<64x32xf32>, tensor<32xf32>
      r1.yield %s : tensor<64x32xf32>
    }
    %1 = r1.rms_norm %0 eps 1.0e-06 : tensor<?x32xf32>
    %2 = r1.linear %1, @q[%layer] : tensor<?x32xf32> -> tensor<?x64xf32>
    ```

    All users of the norm must be linears, each the only reader of its weight,
    which will be stored in f32. The product of two bf16 values needs 16 bits of
    significand, and rounding it would lose precision that applying the gain to
    the activations keeps. In a block scheme, columns of different gains would
    share a scale; left alone, weights from GGUF also keep their values where
    the scheme can hold them.
  }];
  let options = [
    R1_SchemeOption<"the scheme that weights will be stored in">,
    R1_OverridesOption<"; those of r1-encode-weights">];
  let statistics = [
    Statistic<"numFolded", "num-folded", "Gains moved into weights">,
    Statistic<"numKept", "num-kept", "Gains left on the activations">];
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def EncodeWeightsPass : R1_Pass<"r1-encode-weights"> {
  let summary = "Choose how each weight is stored in the image";
  let description = [{
    Afterwards every weight that an op of the graph reads is an `r1.derived`
    whose program ends in `r1.encode`: matrices in `scheme`, vectors (gains,
    biases) in f32. Where that is a block scheme, a table that only `r1.embed`
    reads is bf16: a token reads one row of it. All are row-major until
    `r1-pack-weights`. Weights that nothing reads are erased.

    ```mlir
    r1.weight @down layers(28) : tensor<32x48xf32> from [...]
    %1 = r1.linear %0, @down[%layer] : tensor<?x48xf32> -> tensor<?x32xf32>
    ```
    becomes
    ```mlir
    r1.weight @down.source layers(28) : tensor<32x48xf32> from [...]
    r1.derived @down layers(28) : tensor<32x48xf32, #r1.encoding<bf16>> {
      %0 = r1.read @down.source : tensor<32x48xf32>
      %1 = r1.encode %0 : tensor<32x48xf32> -> tensor<32x48xf32, #r1.encoding<bf16>>
      r1.yield %1 : tensor<32x48xf32, #r1.encoding<bf16>>
    }
    ```
  }];
  let options = [
    R1_SchemeOption<"the scheme of matrices">,
    R1_OverridesOption<"">];
  let statistics = [
    Statistic<"numEncoded", "num-encoded", "Weights given an encoding">,
    Statistic<"encodedBytes", "encoded-bytes", "Bytes of those in the image">,
    Statistic<"numErased", "num-erased", "Weights that nothing reads">];
}

def PackWeightsPass : R1_Pass<"r1-pack-weights"> {
  let summary = "Lay matrices out in the panels that the dot primitive reads";
  let description = [{
    Matrices that an `r1.linear` reads get the panel and step that
    `choosePacking` (Packing.h) gives for the target. A matrix that `r1.embed`
    reads too is packed once, for both; one that only `r1.embed` reads stays
    row-major.

    ```mlir
    r1.encode %0 : tensor<32x48xf32> -> tensor<32x48xf32, #r1.encoding<bf16>>
    ```
    becomes
    ```mlir
    r1.encode %0 : tensor<32x48xf32> -> tensor<32x48xf32, #r1.encoding<bf16, panel = 16, step = 2>>
    ```
  }];
  let statistics = [
    Statistic<"numPacked", "num-packed", "Matrices packed">,
    Statistic<"paddingBytes", "padding-bytes", "Zeros that fill up panels">];
}

//===----------------------------------------------------------------------===//
// Phases and regions
//===----------------------------------------------------------------------===//

def SpecializePhasesPass : R1_Pass<"r1-specialize-phases"> {
  let summary = "Make @decode, @verify and @prefill of @forward";
  let description = [{
    The phases differ in how many rows a call carries; passes and code
    generation decide by that what pays.

    ```mlir
    func.func @forward(...)
    ```
    becomes
    ```mlir
    func.func @decode(...) attributes {r1.phase = #r1.phase<decode, max_rows = 1>}
    func.func @verify(...) attributes {r1.phase = #r1.phase<verify, max_rows = 8>}
    func.func @prefill(...) attributes {r1.phase = #r1.phase<prefill, max_rows = 256>}
    ```
  }];
  let options = [
    Option<"verifyRows", "verify-rows", "int64_t", "8",
           "most rows of a speculative check or a batch of conversations">,
    Option<"prefillRows", "prefill-rows", "int64_t", "256",
           "most rows of a chunk of a prompt">];
}

def ChooseLatentFormPass : R1_Pass<"r1-choose-latent-form"> {
  let summary = "Choose for each phase how latent attention forms its products";
  let description = [{
    With few rows, keys are absorbed into the queries, and values are formed of
    the weighted sum of latents: a latent is multiplied with nothing but the
    queries. With many rows, keys and values of a position are formed once for
    all rows. In prefill the pass takes the form with fewer multiply-adds for the
    most rows that the phase may have; decode and verify, which must agree to the
    bit, absorb, as do all kernels for a GPU. Absorbing needs the matrices of keys
    transposed.

    ```mlir
    %1 = r1.latent_attention %q, %p, %cache[%layer] keys @k_b values @v_b
      at %slots, %positions scale 0.1 : ...
    ```
    becomes, in `@decode`,
    ```mlir
    r1.derived @k_b_absorbed layers(61) : tensor<65536x128xf32> {
      %0 = r1.read @k_b : tensor<16384x512xf32>
      %1 = r1.transpose %0 part 128 : tensor<16384x512xf32> -> tensor<65536x128xf32>
      r1.yield %1 : tensor<65536x128xf32>
    }
    %1 = r1.latent_attention %q, %p, %cache[%layer] keys @k_b_absorbed values @v_b
      at %slots, %positions scale 0.1 form absorbed : ...
    ```
  }];
  let statistics = [
    Statistic<"numAbsorbed", "num-absorbed", "Ops in absorbed form">,
    Statistic<"numExpanded", "num-expanded", "Ops in expanded form">];
}

def ObserveInputsPass : R1_Pass<"r1-observe-inputs"> {
  let summary = "Let the code add up squares of what matrices are multiplied with";
  let description = [{
    Each product of the prefill phase that takes rows gets a record for each of
    its layers, and says where the first begins: its code then adds the squares
    of the rows' features to `abi::Step::observed`. In the other phases, whose
    rows are normalised inside a region, nothing is observed.

    ```mlir
    %1 = r1.linear %0, @head : tensor<?x1536xf32> -> tensor<?x151936xf32>
    ```
    becomes
    ```mlir
    %1 = r1.linear %0, @head {r1.observed = 172480 : i64} : tensor<?x1536xf32> -> tensor<?x151936xf32>
    ```
  }];
  let statistics = [
    Statistic<"numObserved", "num-observed", "Products whose rows are observed">];
}

def StageActivationsPass : R1_Pass<"r1-stage-activations"> {
  let summary = "Round activations to what the dot instructions of linears take";
  let description = [{
    Where the target has the dot instructions and the weight is packed for them,
    both factors come from memory in the form that the instruction takes:

    * a weight in a block scheme of integers takes i8 rows: the scales of a row's
      blocks are needed by every range of features. Not in prefill where warpgroups
      multiply (`bf16_dot = wgmma`), which make bf16 of the weight;
    * that one, and a weight in bf16, in pairs of columns, or in fp8 take bf16 rows
      in the prefill phase. In the other phases a CPU rounds a row where it is used, a
      GPU not at all.

    Linears with the same input share one cast.

    ```mlir
    %1 = r1.linear %0, @q[%layer] : tensor<?x32xf32> -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %c = r1.cast %0 : tensor<?x32xf32> -> tensor<?x32xbf16>
    %1 = r1.linear %c, @q[%layer] : tensor<?x32xbf16> -> tensor<?x64xf32>
    ```
  }];
  let statistics = [
    Statistic<"numCasts", "num-casts", "Values rounded">,
    Statistic<"numStaged", "num-staged", "Linears that take rounded rows">];
}

def FormRegionsPass : R1_Pass<"r1-form-regions"> {
  let summary = "Put every op into the region that will be its kernel";
  let description = [{
    Afterwards a function, and the body of every `r1.layers`, holds regions and
    a terminator only. With `fuse`, ops join the op that makes or takes their
    rows:

    * a packed `r1.linear` takes in, in the decode and verify phases, the row
      selection, norm and cast to i8 that only it reads, and in all phases the ops after
      it that work on features or heads: residual, RoPE, head norms, SwiGLU,
      casts, splits, the append to the cache. These must be able to run on
      whole panels of the linear's result: heads, and where a split cuts, must
      be multiples of the panel, else they stay outside;
    * `r1.attention` takes in the cast of its result to bf16;
    * ops that work on each row by itself and are left over join in chains.

    Without, each op is alone in a region.

    ```mlir
    %1 = r1.rms_norm %0, @norm[%layer] eps 1.0e-06 : tensor<?x32xf32>
    %2 = r1.linear %1, @up[%layer] : tensor<?x32xf32> -> tensor<?x48xf32>
    ```
    becomes
    ```mlir
    %3 = r1.region "up" -> (tensor<?x48xf32>) {
      %1 = r1.rms_norm %0, @norm[%layer] eps 1.0e-06 : tensor<?x32xf32>
      %2 = r1.linear %1, @up[%layer] : tensor<?x32xf32> -> tensor<?x48xf32>
      r1.yield %2 : tensor<?x48xf32>
    }
    ```
  }];
  let options = [
    Option<"fuse", "fuse", "bool", "true",
           "several ops in a region; without, each is alone">];
  let statistics = [
    Statistic<"numRegions", "num-regions", "Regions made">,
    Statistic<"numFused", "num-fused", "Ops that share a region with the op it is built around">];
}

def PartitionPass : R1_Pass<"r1-partition", "::mlir::func::FuncOp"> {
  let summary = "Say how threads share each region";
  let description = [{
    Regions around a linear are shared out by output features, in units that
    keep panels, heads and blockwise pairs whole; attention by row and KV head;
    all others by row.

    ```mlir
    r1.region "ffn_gate_up" -> (tensor<?x48xf32>) {...}
    ```
    becomes
    ```mlir
    r1.region "ffn_gate_up" partition(#r1.partition<features, granule = 32>) -> (tensor<?x48xf32>) {...}
    ```
  }];
}

def PlanMemoryPass : R1_Pass<"r1-plan-memory"> {
  let summary = "Give every region result its place in the arena";
  let description = [{
    Rows are padded to 64 bytes. A result takes over the buffer of an operand
    that dies in its region where feature i of one only depends on feature i of
    the other; the residual stream of `r1.layers` is one buffer from before the
    loop to after it. All other results are placed, largest first, in the
    smallest gap that nothing else occupies while they live. The value that the
    function returns goes to the caller's logits.

    ```mlir
    %1 = r1.region "up" -> (tensor<?x48xf32>) {...}
    ```
    becomes, in a phase of 8 rows,
    ```mlir
    %1 = r1.region "up" buffers([#r1.buffer<offset = 0, stride = 192>]) -> (tensor<?x48xf32>) {...}
    ```
    and the function gets `r1.arena_bytes = 1536`.
  }];
  let statistics = [
    Statistic<"arenaBytes", "arena-bytes", "Bytes of all arenas">,
    Statistic<"resultBytes", "result-bytes", "Bytes without reuse">,
    Statistic<"numInPlace", "num-in-place", "Results that took over an operand's buffer">];
}

//===----------------------------------------------------------------------===//
// Image
//===----------------------------------------------------------------------===//

def PlaceWeightsPass : R1_Pass<"r1-place-weights"> {
  let summary = "Give every encoded weight its place in the image";
  let description = [{
    Weights lie in the order in which decode first reads them, so that it goes
    through the image from one end to the other. Those of an `r1.layers` lie
    together for each layer and share one stride.

    ```mlir
    r1.derived @down layers(28) : tensor<32x48xf32, #r1.encoding<bf16>> {...}
    ```
    becomes
    ```mlir
    r1.derived @down layers(28) : tensor<32x48xf32, #r1.encoding<bf16>>
        at #r1.placement<offset = 8192, stride = 24576> {...}
    ```
    and the module gets `r1.image_bytes`.
  }];
  let statistics = [
    Statistic<"imageBytes", "image-bytes", "Bytes of the image">,
    Statistic<"paddingBytes", "padding-bytes", "Bytes between weights">];
}

//===----------------------------------------------------------------------===//
// Tools
//===----------------------------------------------------------------------===//

def IsolateRegionPass : R1_Pass<"r1-isolate-region"> {
  let summary = "Keep one region of each phase, to be measured by itself";
  let description = [{
    Not part of r1-pipeline but run after it. Each phase keeps one region, in
    its loop over the layers; what the region reads of others becomes arguments
    of the function, with `r1.buffer` where they lie in the arena, and
    `r1.outputs` if their rows are those wanted as outputs. A phase without the
    region becomes empty. Weights are zeros, made from no checkpoint: whoever
    measures fills the image as he likes.

    ```mlir
    func.func @decode(%tokens: ..., %cache: ...) -> tensor<?x512xf32> {
      ...
      %8 = r1.region "ffn_down" buffers([#r1.buffer<offset = 0, stride = 128>]) -> (tensor<?x32xf32>) {
        %9 = r1.linear %7, @ffn_down[%layer] : tensor<?x48xf32> -> tensor<?x32xf32>
        ...
    }
    ```
    becomes
    ```mlir
    func.func @decode(%tokens: ..., %cache: ..., %7: tensor<?x48xf32> {r1.buffer = #r1.buffer<offset = 128, stride = 192>}) {
      %8 = r1.region "ffn_down" ...
      return
    }
    ```
  }];
  let options = [
    Option<"region", "region", "std::string", "", "the name of the region">,
    Option<"number", "number", "int64_t", "1",
           "which of those with that name in a phase, counted from 1">];
  let statistics = [
    Statistic<"numIsolated", "num-isolated", "Phases that keep the region">,
    Statistic<"numErased", "num-erased", "Weights that nothing reads any more">];
}

#endif // SPUTNIK_PASSES_PASSES
