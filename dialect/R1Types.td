//===- R1Types.td - Types of the r1 dialect ------------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_DIALECT_R1TYPES
#define SPUTNIK_DIALECT_R1TYPES

include "mlir/IR/AttrTypeBase.td"
include "dialect/R1Dialect.td"

def R1_KVCacheType : TypeDef<R1_Dialect, "KVCache"> {
  let mnemonic = "kv_cache";
  let summary = "keys and values of all layers of one conversation slot";
  let description = [{
    A handle to the caches of all slots. Every slot has the same layout: for
    each layer, for each KV head, the keys of all positions, then the values.
    Keys lie in panels of 16 positions, `[positions/16][dim][16]`, so that one
    load gives the same coordinate of 16 keys; values lie as `[positions][dim]`.
    `positions` is a multiple of 16.

    With `element = i8`, 16 keys lie as 16 rows of a weight in encoding `q8`: in
    blocks of 32 coordinates, each with an f32 scale for each key. 16 values lie
    as 16 f32 scales and then `[16][dim]`: a value has one scale. `dim` is a
    multiple of 16.

    With `latent`, there is one head, whose values are the first `latent`
    features of its keys: both are stored once, as `[positions][dim]`, in f32 or
    bf16.

    ```mlir
    !r1.kv_cache<layers = 28, heads = 2, dim = 128, element = bf16, positions = 131072>
    !r1.kv_cache<layers = 28, heads = 2, dim = 128, element = i8, positions = 131072>
    !r1.kv_cache<layers = 61, heads = 1, dim = 576, element = bf16, positions = 163840, latent = 512>
    ```
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$heads, "int64_t":$dim,
                        "::mlir::Type":$element, "int64_t":$positions,
                        DefaultValuedParameter<"int64_t", "0">:$latent);
  let assemblyFormat = [{
    `<` struct($layers, $heads, $dim, $element, $positions, $latent) `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Positions that lie together in a panel of keys, and of values with scales.
    static constexpr int64_t kPanel = 16;
    /// Whether such keys and values may be stored as bytes.
    static bool canQuantize(int64_t dim, int64_t latent) {
      return !latent && dim % kPanel == 0;
    }
    /// Whether keys and values are bytes with scales.
    bool isQuantized() const { return getElement().isInteger(8); }
    /// How the keys of a panel lie as rows of a weight; null for floats.
    EncodingAttr getKeyEncoding() const;
    /// Bytes of the keys (values) of one panel of positions of one KV head.
    int64_t getKeyPanelBytes() const;
    int64_t getValuePanelBytes() const;
    /// Bytes of all keys (values) of one KV head of one layer.
    int64_t getKeyBytes() const {
      return getPositions() / kPanel * getKeyPanelBytes();
    }
    int64_t getValueBytes() const {
      return getPositions() / kPanel * getValuePanelBytes();
    }
    /// Bytes of one layer. Latents are keys and values at once.
    int64_t getLayerBytes() const {
      return getHeads() * (getKeyBytes() + (getLatent() ? 0 : getValueBytes()));
    }
    /// Bytes of one slot.
    int64_t getSlotBytes() const { return getLayers() * getLayerBytes(); }
    /// Bytes that one position takes in all layers.
    int64_t getTokenBytes() const { return getSlotBytes() / getPositions(); }
  }];
}

#endif // SPUTNIK_DIALECT_R1TYPES
