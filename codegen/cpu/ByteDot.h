//===- ByteDot.h - Products of bytes in 32 bits -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_BYTEDOT_H
#define SPUTNIK_CODEGEN_CPU_BYTEDOT_H

#include "codegen/cpu/Emit.h"
#include "dialect/R1.h"

namespace sputnik::cpu {

/// The instructions with which a target multiplies weights of 8 bits with
/// activations of 8 bits. Values are lines of 64 bytes, taken in as many parts as
/// the target's registers need; sums are exact. Activations are at least -127.
class ByteDot {
public:
  /// Fails where the target has no such instructions.
  static mlir::FailureOr<ByteDot> get(r1::TargetAttr target);

  /// What is added to a weight before it is multiplied as an unsigned byte: 128,
  /// or 0 where weights are signed.
  int64_t getWeightOffset() const { return offset; }
  /// Nothing is added from now on: weights are not for multiply().
  void keepSigned() { offset = 0; }
  /// Whether one instruction multiplies and adds to sums.
  bool accumulates() const;
  /// Bytes of a register.
  int64_t getRegisterBytes() const { return 64 / parts; }

  /// `sums` (16 words) and, for each word, the products of its four bytes.
  mlir::Value multiply(Emit &e, mlir::Value weights, mlir::Value activations,
                       mlir::Value sums) const;

  /// Whether there is an instruction for pairs of activation rows.
  bool hasPairs() const { return kind == r1::IntDotKind::I8MM; }
  /// As multiply(), of eight columns of 16 weight rows and of two activation rows:
  /// `weights` [16][8] bytes, `activations` [2][8] bytes, `sums` [16][2] words.
  mlir::Value multiplyPair(Emit &e, mlir::Value weights,
                           mlir::Value activations, mlir::Value sums) const;

  /// For each byte of `indices` (16 words), that of `table`: a register that
  /// repeats 16 bytes. The indices are at most 15, or their upper halves do not
  /// matter.
  mlir::Value lookUp(Emit &e, mlir::Value table, mlir::Value indices) const;

  /// Whether lookUp() looks at the lower half of each index alone.
  bool ignoresUpperBits() const { return permutes; }

private:
  ByteDot(r1::IntDotKind kind, int64_t parts, int64_t offset = 0)
      : kind(kind), parts(parts), offset(offset) {}
  mlir::Value multiplyRegister(Emit &e, mlir::Value weights,
                               mlir::Value activations, mlir::Value sums) const;

  r1::IntDotKind kind;
  /// Registers of a line.
  int64_t parts;
  int64_t offset;
  /// Whether the table of lookUp() is a whole register of 64 bytes, of whose
  /// index the lower 6 bits count.
  bool permutes = false;
};

/// What an LLVM intrinsic gives.
mlir::Value callIntrinsic(Emit &e, llvm::StringRef name, mlir::Type type,
                          mlir::ValueRange operands);

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_BYTEDOT_H
