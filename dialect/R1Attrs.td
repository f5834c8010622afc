//===- R1Attrs.td - Attributes of the r1 dialect -------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_DIALECT_R1ATTRS
#define SPUTNIK_DIALECT_R1ATTRS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "dialect/R1Dialect.td"

class R1_Attr<string name, string attrMnemonic> : AttrDef<R1_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def R1_Scheme : I32EnumAttr<"Scheme", "how one weight value is stored", [
    I32EnumAttrCase<"F32", 0, "f32">, I32EnumAttrCase<"BF16", 1, "bf16">,
    I32EnumAttrCase<"Q8", 2, "q8">, I32EnumAttrCase<"Q4", 3, "q4">,
    I32EnumAttrCase<"Q4Plain", 4, "q4_plain">,
    I32EnumAttrCase<"FP8", 5, "fp8">]> {
  let cppNamespace = "::sputnik::r1";
}

def R1_EncodingAttr : R1_Attr<"Encoding", "encoding"> {
  let summary = "how a weight lies in the image";
  let description = [{
    The bytes of a weight of logical shape `[N, K]` (or `[N]`) in the image.

    * `scheme`: how one value is stored.
    * `panel`: rows that are interleaved. 1 is row-major. With a panel of `P`,
      `P` consecutive rows lie together and one load gives the same columns of
      all of them: byte order is `[ceil(N/P)][ceil(K/step)][P][step]`. Missing
      rows and columns are zero.
    * `step`: consecutive columns of one row that lie together.

    The block schemes `q8`, `q4`, `q4_plain` and `fp8` have one scale for each
    block of 32 columns of a row, `fp8` for 128; columns are filled up to whole
    blocks, and `step` is 4. Blocks lie in groups, so that a panel is read from
    one end to the other: the scales of a group, then its quants. A group is one
    block, in `q4` four; the last may have fewer quants.

    * `q8`: `[K/4][P][4]` signed bytes q; value q * scale. Scales are `[P]`
      f32 (9 bits a weight) and can hold every value of GGUF's Q8_0.
    * `q4_plain`: `[K/8][P][4]` bytes; the low nibble of byte b is column 8i + b,
      the high nibble column 8i + 4 + b; value (nibble - 8) * scale. Scales are
      as in `q8` (5 bits a weight) and can hold every value of GGUF's Q4_0.
    * `q4`: nibbles as in `q4_plain`. Scales have two levels: in each group
      `[4][P]` signed bytes, the steps, and behind the last group, from a multiple
      of 4 bytes on, `[P]` f32, the rows' scales (4.25 bits a weight and 32 a
      row). The scale of a block is
      step * row scale; the value is kQ4Table[nibble] * scale where the step is
      even, (kQ4Table[nibble] + kQ4Shift) * scale where it is odd.
    * `fp8`: `[K/4][P][4]` bytes of E4M3 without infinities; value E4M3 * scale.
      Scales are as in `q8` (8.25 bits a weight) and can hold every value of
      FP8 weights with a scale for 128 rows and 128 columns.

    A panel of several rows takes a multiple of 64 bytes.

    ```mlir
    tensor<2048x1536xf32, #r1.encoding<bf16, panel = 16, step = 2>>
    ```
  }];
  let parameters = (ins
    EnumParameter<R1_Scheme>:$scheme,
    DefaultValuedParameter<"int64_t", "1">:$panel,
    DefaultValuedParameter<"int64_t", "1">:$step);
  let assemblyFormat = "`<` $scheme (`,` struct($panel, $step)^)? `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Columns of a row that share a scale; 0 where there are none.
    int64_t getBlock() const;
    /// Bytes of one scale or step of a block, 0 where there are none.
    int64_t getScaleBytes() const;
    /// Blocks whose scales lie together, ahead of their quants.
    int64_t getGroupBlocks() const;
    /// Bytes of a whole group of a panel, and of what its scales take.
    int64_t getGroupBytes() const;
    int64_t getGroupScaleBytes() const {
      return getGroupBlocks() * getPanel() * getScaleBytes();
    }
    /// Bytes of the quants of one block of a panel.
    int64_t getBlockBytes() const;
    /// Bytes of the scale of a row, 0 where there are none.
    int64_t getRowScaleBytes() const;
    /// Where in a panel the scales of its rows begin.
    int64_t getRowScaleOffset(int64_t columns) const;
    /// Bytes of one panel of `panel` rows.
    int64_t getPanelBytes(int64_t columns) const;
    /// Bytes of a weight of this shape (rank 1 or 2) in the image.
    int64_t getBytes(::llvm::ArrayRef<int64_t> shape) const;
  }];
}

def R1_OriginAttr : R1_Attr<"Origin", "origin"> {
  let summary = "where a stored tensor lies";
  let description = [{
    A byte range of a checkpoint file and the element type stored there, by the
    name that the importer's `TensorType` has for it.

    ```mlir
    #r1.origin<"model.safetensors", 1024, 4608, "bf16">
    ```
  }];
  let parameters = (ins
    StringRefParameter<"file name, relative to the checkpoint">:$file,
    "uint64_t":$offset, "uint64_t":$bytes,
    StringRefParameter<"stored element type">:$stored);
  let assemblyFormat = "`<` $file `,` $offset `,` $bytes `,` $stored `>`";
}

def R1_PlacementAttr : R1_Attr<"Placement", "placement"> {
  let summary = "where a weight lies in the image";
  let description = [{
    Byte offset of layer 0 after the image header and bytes from one layer to
    the next (0 for a weight without layers). Offsets are multiples of 64.

    ```mlir
    #r1.placement<offset = 466747392, stride = 93585408>
    ```
  }];
  let parameters = (ins "int64_t":$offset, "int64_t":$stride);
  let assemblyFormat = "`<` struct($offset, $stride) `>`";
}

def R1_DotKind : I32EnumAttr<"DotKind", "what multiplies bf16, under the name of the LLVM feature that has it, or of the PTX instruction", [
    I32EnumAttrCase<"FMA", 0, "fma">,
    I32EnumAttrCase<"AVX512BF16", 1, "avx512bf16">,
    I32EnumAttrCase<"BF16", 2, "bf16">,
    I32EnumAttrCase<"MMA", 3, "mma">,
    I32EnumAttrCase<"WGMMA", 4, "wgmma">]> {
  let cppNamespace = "::sputnik::r1";
}

def R1_IntDotKind : I32EnumAttr<"IntDotKind", "what multiplies 8-bit integers, under the name of the LLVM feature that has it", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"AVX512VNNI", 1, "avx512vnni">,
    I32EnumAttrCase<"DP4A", 2, "dp4a">,
    I32EnumAttrCase<"AVX512BW", 3, "avx512bw">,
    I32EnumAttrCase<"AVXVNNI", 4, "avxvnni">,
    I32EnumAttrCase<"AVX2", 5, "avx2">,
    I32EnumAttrCase<"NEON", 6, "neon">,
    I32EnumAttrCase<"DotProd", 7, "dotprod">,
    I32EnumAttrCase<"I8MM", 8, "i8mm">]> {
  let cppNamespace = "::sputnik::r1";
}

def R1_TargetAttr : R1_Attr<"Target", "target"> {
  let summary = "the machine that code is made for";
  let description = [{
    Everything that cost decisions read about a target; nothing else asks what
    machine it is. Cache sizes are bytes, per core for `l1` and `l2`, shared for
    `l3`.

    Of a GPU, `cores` are its multiprocessors, `l1` is the shared memory that a
    block may have, `l2` the cache that all share; vectors are what one thread
    loads at a time, registers are 32 bits wide and one thread's. `bf16_dot` is
    what warps multiply matrices with, or warpgroups (`wgmma`); `int8_dot` what a
    thread has.

    ```mlir
    #r1.target<"x86_64-linux-gnu", "znver4", "+avx512f,+avx512bf16",
               vector_bits = 512, vector_registers = 32, bf16_dot = avx512bf16,
               int8_dot = avx512vnni, l1 = 32768, l2 = 1048576, l3 = 33554432, cores = 2>
    ```
  }];
  let parameters = (ins
    StringRefParameter<"LLVM triple">:$triple,
    StringRefParameter<"LLVM CPU name">:$cpu,
    StringRefParameter<"LLVM features, comma-separated">:$features,
    "int64_t":$vector_bits, "int64_t":$vector_registers,
    EnumParameter<R1_DotKind>:$bf16_dot,
    DefaultValuedParameter<"::sputnik::r1::IntDotKind",
                           "::sputnik::r1::IntDotKind::None">:$int8_dot,
    "int64_t":$l1, "int64_t":$l2, "int64_t":$l3, "int64_t":$cores);
  let assemblyFormat = [{
    `<` $triple `,` $cpu `,` $features `,`
    struct($vector_bits, $vector_registers, $bf16_dot, $int8_dot, $l1, $l2, $l3,
           $cores) `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Whether kernels, not threads in one function, run the regions.
    bool isGPU() const { return getTriple().starts_with("nvptx64"); }
  }];
}

def R1_PhaseKind : I32EnumAttr<"PhaseKind", "a phase of @forward", [
    I32EnumAttrCase<"Decode", 0, "decode">,
    I32EnumAttrCase<"Verify", 1, "verify">,
    I32EnumAttrCase<"Prefill", 2, "prefill">]> {
  let cppNamespace = "::sputnik::r1";
}

def R1_PhaseAttr : R1_Attr<"Phase", "phase"> {
  let summary = "which phase a function is, and how many rows a call carries";
  let description = [{
    ```mlir
    func.func @decode(...) attributes {r1.phase = #r1.phase<decode, max_rows = 1>}
    ```
  }];
  let parameters = (ins EnumParameter<R1_PhaseKind>:$kind, "int64_t":$max_rows);
  let assemblyFormat = "`<` $kind `,` struct($max_rows) `>`";
}

def R1_BufferAttr : R1_Attr<"Buffer", "buffer"> {
  let summary = "where a region's result lies in the arena";
  let description = [{
    Byte offset in the shared part of the arena and bytes from one row to the
    next. `logits` stands for the caller's logits instead of the arena.

    ```mlir
    #r1.buffer<offset = 4096, stride = 6144>
    ```
  }];
  let parameters = (ins "int64_t":$offset, "int64_t":$stride,
    DefaultValuedParameter<"bool", "false">:$logits);
  let assemblyFormat = "`<` struct($offset, $stride, $logits) `>`";
}

def R1_SplitKind : I32EnumAttr<"SplitKind", "what threads share out in a region", [
    I32EnumAttrCase<"Tokens", 0, "tokens">,
    I32EnumAttrCase<"Features", 1, "features">,
    I32EnumAttrCase<"HeadsAndTokens", 2, "heads_and_tokens">,
    I32EnumAttrCase<"Heads", 3, "heads">,
    I32EnumAttrCase<"Experts", 4, "experts">]> {
  let cppNamespace = "::sputnik::r1";
}

def R1_PartitionAttr : R1_Attr<"Partition", "partition"> {
  let summary = "how threads share a region";
  let description = [{
    * `tokens`: each thread takes a range of token rows.
    * `features`: each thread takes a range of output features, in units of
      `granule` features, for all rows.
    * `heads_and_tokens`: (row, KV head) pairs, or spans of their positions, are
      dealt out.
    * `heads`: each thread takes a range of `granule` heads, for all rows.
    * `experts`: each thread takes a range of each expert's features, in units of
      `granule` rows of its matrix, such that all multiply as many rows; in
      prefill, a range of the features of all experts.

    ```mlir
    #r1.partition<features, granule = 128>
    ```
  }];
  let parameters = (ins EnumParameter<R1_SplitKind>:$kind,
                        DefaultValuedParameter<"int64_t", "1">:$granule);
  let assemblyFormat = "`<` $kind (`,` struct($granule)^)? `>`";
}

def R1_LatentForm : I32EnumAttr<"LatentForm", "a way to compute latent attention", [
    I32EnumAttrCase<"Expanded", 0, "expanded">,
    I32EnumAttrCase<"Absorbed", 1, "absorbed">]> {
  let cppNamespace = "::sputnik::r1";
}

#endif // SPUTNIK_DIALECT_R1ATTRS
