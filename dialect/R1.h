//===- R1.h - The r1 dialect ------------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_DIALECT_R1_H
#define SPUTNIK_DIALECT_R1_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace sputnik::r1 {

/// How the result rows of a graph op depend on its operand rows.
enum class Locality {
  /// Feature i of a result row depends on feature i of the operand rows.
  Elementwise,
  /// A head of a result row depends on that head of the operand row.
  HeadWise,
  /// A result row depends on the whole of one operand row.
  RowWise,
  /// Takes features of a row apart; moves no data.
  View,
  /// Writes memory and has no results.
  Sink,
  /// Anything else: the op that a kernel is built around.
  Anchor,
};

/// Columns that share a scale in a block scheme, and in scheme `fp8`.
inline constexpr int64_t kQuantBlock = 32;
inline constexpr int64_t kFloat8Block = 128;

/// Activations that share a scale when they are rounded to 8 bits.
inline constexpr int64_t kActivationGroup = 256;

/// What the nibbles of scheme `q4` stand for: finer near zero, where weights
/// are dense. The values are those of GGUF's IQ4_NL. Blocks with an odd step
/// have all of them moved up by kQ4Shift, so that a block may choose on which
/// side of zero its values lie closer.
inline constexpr int8_t kQ4Table[16] = {-127, -104, -83, -65, -49, -35,
                                        -22,  -10,  1,   13,  25,  38,
                                        53,   69,   89,  113};
inline constexpr int8_t kQ4Shift = 4;

} // namespace sputnik::r1

#include "dialect/R1Enums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/R1Attrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialect/R1Types.h.inc"

#include "dialect/R1Dialect.h.inc"
#include "dialect/R1Interfaces.h.inc"

#define GET_OP_CLASSES
#include "dialect/R1Ops.h.inc"

namespace sputnik::r1 {

/// Names of the attributes that modules and functions carry.
inline constexpr llvm::StringLiteral kTargetAttr = "r1.target"; // on the module
inline constexpr llvm::StringLiteral kImageBytesAttr = "r1.image_bytes"; // same
inline constexpr llvm::StringLiteral kPhaseAttr = "r1.phase"; // on a function
inline constexpr llvm::StringLiteral kArenaBytesAttr = "r1.arena_bytes"; // same

/// Names of the phases' functions.
inline constexpr llvm::StringLiteral kDecode = "decode";
inline constexpr llvm::StringLiteral kVerify = "verify";
inline constexpr llvm::StringLiteral kPrefill = "prefill";
inline constexpr llvm::StringLiteral kDraftVerify = "draft_verify";
inline constexpr llvm::StringLiteral kDraftPrefill = "draft_prefill";

/// Arguments of every phase: tokens, slots, positions, outputs and the cache. A
/// further one of a draft is the state that the rows before were left in; the
/// second result, after the logits, is the state that rows are left in. States
/// lie at the start of the arena, in all phases of a model.
inline constexpr unsigned kStepInputs = 5;

// On an argument that lies in the arena: where, and whether its rows are those
// wanted as outputs.
inline constexpr llvm::StringLiteral kBufferAttr = "r1.buffer";
inline constexpr llvm::StringLiteral kOutputRowsAttr = "r1.outputs";

/// The encoding of a weight type, or null for a weight that is not encoded.
EncodingAttr getEncoding(mlir::Type weightType);

/// The shape [N, K] or [N] of one layer of the weight called `name`, its
/// encoding included; null if there is no such weight.
mlir::RankedTensorType lookupWeightType(mlir::Operation *from,
                                        mlir::FlatSymbolRefAttr name);

/// Bytes of one row of activations. Rows of i8 are quantised in groups of
/// kActivationGroup features: first the bytes of all features, filled up to whole
/// blocks with zeros, then for each kActivationGroup features their f32 scale,
/// then for each block -128 times the sum of its bytes as i32.
int64_t getRowBytes(mlir::RankedTensorType rows);

/// Whether the rows of an activation are the rows wanted as outputs, not all.
bool countsOutputs(mlir::Value value);

/// The region's result in whose buffer a value lies, if it lies in one: all forms
/// of a residual stream share that of the stream before its layers.
mlir::Value getStreamOrigin(mlir::Value value);

/// Layers of the weight that `op` (r1.weight or r1.derived) defines; 1 for a
/// weight that is not stacked.
int64_t getWeightLayers(mlir::Operation *op);

} // namespace sputnik::r1

#endif // SPUTNIK_DIALECT_R1_H
