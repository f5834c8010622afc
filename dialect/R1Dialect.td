//===- R1Dialect.td - The r1 dialect -------------------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_DIALECT_R1DIALECT
#define SPUTNIK_DIALECT_R1DIALECT

include "mlir/IR/OpBase.td"

def R1_Dialect : Dialect {
  let name = "r1";
  let cppNamespace = "::sputnik::r1";
  let summary = "Decoder language models of the R1 family, from graph to kernels.";
  let description = [{
    The `r1` dialect speaks of a model at the level people do: embedding,
    RMSNorm, linear layers, RoPE, attention over a KV cache, SwiGLU.

    Three ideas carry it:

    * **Weights are symbols.** `r1.weight` names bytes of a checkpoint file and
      `r1.derived` is a small program over other weights. No weight data is
      ever part of the IR. A kernel can only read a weight whose type carries an
      `#r1.encoding`, so that a layout a kernel does not know fails in the
      verifier.
    * **Equal layers are one body.** `r1.layers` runs its body once per layer;
      weights inside it are stacks, read as `@name[%layer]`.
    * **A region is one parallel phase.** `r1.region` groups the ops that one
      kernel computes; data crosses threads only between regions.

    Activations are `tensor<?xNxf32>`: one row per token, each with the slot
    (conversation) and position given to `@forward`.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
}

#endif // SPUTNIK_DIALECT_R1DIALECT
