//===- R1ExpertOps.td - Mixtures of experts ------------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Included at the end of R1Ops.td.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_DIALECT_R1EXPERTOPS
#define SPUTNIK_DIALECT_R1EXPERTOPS

def R1_ChosenRows : R1_RowsOf<[I32]>;

defvar R1_IsProduct = [
  DeclareOpInterfaceMethods<R1_ProductInterface,
    ["getMatrixParts", "getRoundableRows", "getInnerFeatures"]>];

def R1_RouteOp : R1_PureGraphOp<"route", R1_ReadsWeights> {
  let summary = "chooses experts for each row";
  let description = [{
    Scores are s = 1 / (1 + exp(-x)), one for each expert; c = s + bias says
    which experts are chosen, s how much each counts:

    1. Experts fall into `groups` of consecutive ones. A group counts as the sum
       of its two largest c; the `keep` best groups are kept.
    2. Of their experts, the ones with the largest c are chosen, as many as the
       results have features.
    3. Their factors are s, with `normalize` divided by (their sum + 1e-20),
       times `scale`.

    Of equals the lower index is chosen. Experts come in ascending order.

    ```mlir
    %chosen, %factors = r1.route %scores, @bias[%layer] groups 8 keep 4 normalize scale 2.5
      : tensor<?x256xf32> -> tensor<?x8xi32>, tensor<?x8xf32>
    ```
  }];
  let arguments = (ins R1_FloatRows:$scores, FlatSymbolRefAttr:$bias,
    Optional<Index>:$layer, ConfinedAttr<I64Attr, [IntPositive]>:$groups,
    ConfinedAttr<I64Attr, [IntPositive]>:$keep, UnitAttr:$normalize,
    F32Attr:$scale);
  let results = (outs R1_ChosenRows:$chosen, R1_FloatRows:$factors);
  let assemblyFormat = [{
    $scores `,` $bias (`[` $layer^ `]`)? `groups` $groups `keep` $keep
    (`normalize` $normalize^)? `scale` $scale attr-dict
    `:` type($scores) `->` type($chosen) `,` type($factors)
  }];
  let hasVerifier = 1;
}

class R1_ExpertsOp<string mnemonic> : R1_PureGraphOp<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<R1_WeightUserInterface, ["getFractionRead"]>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>], R1_IsProduct)>;

def R1_ExpertsUpOp : R1_ExpertsOp<"experts_up"> {
  let summary = "the gated activations of the chosen experts";
  let description = [{
    Slot j of a result row is silu(G x) * (U x), where G and U are the matrices
    of expert chosen[j]; a slot has (result features / chosen) features. A
    weight holds the matrices of all `experts`, one under the other. Without
    `up`, the first weight holds both, in alternating blocks of `block` rows,
    the last of each matrix filled up with zeros.

    ```mlir
    %1 = r1.experts_up %0, %chosen, @gate up @up[%layer] experts 256
      : tensor<?x7168xf32>, tensor<?x8xi32> -> tensor<?x16384xf32>
    %1 = r1.experts_up %0, %chosen, @gate_up[%layer] experts 256 block 16
      : tensor<?x7168xf32>, tensor<?x8xi32> -> tensor<?x16384xf32>
    ```
  }];
  let arguments = (ins R1_Rows:$input, R1_ChosenRows:$chosen,
    FlatSymbolRefAttr:$gate, OptionalAttr<FlatSymbolRefAttr>:$up,
    Optional<Index>:$layer, ConfinedAttr<I64Attr, [IntPositive]>:$experts,
    OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$block);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $input `,` $chosen `,` $gate (`up` $up^)? (`[` $layer^ `]`)?
    `experts` $experts (`block` $block^)? attr-dict
    `:` type($input) `,` type($chosen) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Features of one slot.
    int64_t getSlotFeatures() {
      return getType().getDimSize(1) / getChosen().getType().getDimSize(1);
    }
  }];
}

def R1_ExpertsDownOp : R1_ExpertsOp<"experts_down"> {
  let summary = "the weighted sum of the chosen experts";
  let description = [{
    A result row is the sum over slots j of factors[j] * D x_j, where x_j is
    slot j of the input row and D the matrix of expert chosen[j], in the order
    of slots. The weight holds the matrices of all `experts`, one under the
    other, each with as many rows as the result has features or more.

    ```mlir
    %1 = r1.experts_down %0, %chosen, %factors, @down[%layer] experts 256
      : tensor<?x16384xf32>, tensor<?x8xi32>, tensor<?x8xf32> -> tensor<?x7168xf32>
    ```
  }];
  let arguments = (ins R1_Rows:$input, R1_ChosenRows:$chosen,
    R1_FloatRows:$factors, FlatSymbolRefAttr:$down, Optional<Index>:$layer,
    ConfinedAttr<I64Attr, [IntPositive]>:$experts);
  let results = (outs R1_FloatRows:$result);
  let assemblyFormat = [{
    $input `,` $chosen `,` $factors `,` $down (`[` $layer^ `]`)?
    `experts` $experts attr-dict
    `:` type($input) `,` type($chosen) `,` type($factors) `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // SPUTNIK_DIALECT_R1EXPERTOPS
