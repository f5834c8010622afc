//===- R1LatentOps.td - Latent attention ---------------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Included at the end of R1Ops.td.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_DIALECT_R1LATENTOPS
#define SPUTNIK_DIALECT_R1LATENTOPS

def R1_LatentAppendOp : R1_GraphOp<"latent_append", [
    MemoryEffects<[MemWrite]>]> {
  let summary = "writes latents and rotary keys of the rows into the cache";
  let description = [{
    Position positions[r] of slot slots[r] gets the latent of row r, then its
    rotary key, in the given layer.

    ```mlir
    r1.latent_append %cache[%layer] %latent, %key at %slots, %positions
      : !r1.kv_cache<...>, tensor<?x512xf32>, tensor<?x64xf32>, tensor<?xi32>, tensor<?xi32>
    ```
  }];
  let arguments = (ins R1_KVCacheType:$cache, Index:$layer,
    R1_FloatRows:$latent, R1_FloatRows:$key,
    R1_Indices:$slots, R1_Indices:$positions);
  let assemblyFormat = [{
    $cache `[` $layer `]` $latent `,` $key `at` $slots `,` $positions
    `:` type($cache) `,` type($latent) `,` type($key) `,` type($slots) `,` type($positions)
    attr-dict
  }];
  let hasVerifier = 1;
}

def R1_LatentAttentionOp : R1_GraphOp<"latent_attention", !listconcat(
    R1_ReadsWeights, [MemoryEffects<[MemRead]>,
    DeclareOpInterfaceMethods<R1_ProductInterface, ["getMatrixParts"]>])> {
  let summary = "causal attention over cached latents";
  let description = [{
    For row r and head h: softmax over positions t in 0..positions[r] of slot
    slots[r] of ((K_h c_t) . q_h + k_t . p_h) * scale, times V_h c_t, where c_t
    and k_t are the latent and the rotary key at position t, q_h and p_h the
    parts of head h in `query` and `rotary`. There are as many heads as `rotary`
    has keys' worth of features.

    `keys` and `values` hold the matrices of all heads, one under the other, and
    each may end in rows of zeros. The form says in which order products are
    formed; passes choose it.

    * `expanded`: K_h c_t and V_h c_t are formed for each position. `keys` has
      K_h, [query features of a head, latent].
    * `absorbed`: scores are (K_h^T q_h) . c_t, and V_h is multiplied with the
      weighted sum of latents. `keys` has K_h^T, [latent, query features of a
      head].

    ```mlir
    %1 = r1.latent_attention %query, %rotary, %cache[%layer] keys @k_b values @v_b
      at %slots, %positions scale 0.135233775 form absorbed
      : tensor<?x16384xf32>, tensor<?x8192xf32>, !r1.kv_cache<...>, tensor<?xi32>, tensor<?xi32> -> tensor<?x16384xf32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$query, R1_FloatRows:$rotary,
    R1_KVCacheType:$cache, Index:$layer, FlatSymbolRefAttr:$keys,
    FlatSymbolRefAttr:$values, R1_Indices:$slots, R1_Indices:$positions,
    F32Attr:$scale, DefaultValuedAttr<R1_LatentForm,
      "::sputnik::r1::LatentForm::Expanded">:$form);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $query `,` $rotary `,` $cache `[` $layer `]` `keys` $keys `values` $values
    `at` $slots `,` $positions `scale` $scale (`form` $form^)? attr-dict
    `:` type($query) `,` type($rotary) `,` type($cache) `,` type($slots) `,`
    type($positions) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Features of one latent and of one rotary key.
    int64_t getLatentFeatures() { return getCache().getType().getLatent(); }
    int64_t getKeyFeatures() {
      return getCache().getType().getDim() - getLatentFeatures();
    }
    int64_t getHeads() {
      return getRotary().getType().getDimSize(1) / getKeyFeatures();
    }
    /// Features of one head of the query without its rotary part, and of the
    /// result.
    int64_t getQueryFeatures() {
      return getQuery().getType().getDimSize(1) / getHeads();
    }
    int64_t getValueFeatures() { return getType().getDimSize(1) / getHeads(); }
  }];
}

#endif // SPUTNIK_DIALECT_R1LATENTOPS
