//===- Nibbles.h - Weights of 4 bits in registers ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_CPU_NIBBLES_H
#define SPUTNIK_CODEGEN_CPU_NIBBLES_H

#include "codegen/cpu/ByteDot.h"

namespace sputnik::cpu {

/// What the weights of schemes `q4` and `q4_plain` stand for, times their scale.
/// A line of 64 bytes has, for each of 16 rows, a word whose lower nibbles are
/// four columns and whose upper nibbles are the next four.
class Nibbles {
public:
  explicit Nibbles(r1::Scheme scheme) : scheme(scheme) {}

  /// Whether weights of `scheme` have 4 bits.
  static bool encodes(r1::Scheme scheme) {
    return scheme == r1::Scheme::Q4 || scheme == r1::Scheme::Q4Plain;
  }
  /// The value of `nibble`, where the scale is even.
  int64_t valueOf(int64_t nibble) const;

  /// Emits what bytes() needs over and over; called once, before loops. `offset`
  /// is added to each value.
  void prepare(Emit &e, const ByteDot &dot, int64_t offset);
  /// A line as two operands of `dot`: four columns each.
  llvm::SmallVector<mlir::Value, 4> bytes(Emit &e, const ByteDot &dot,
                                          mlir::Value line) const;
  /// A line as eight columns of f32, to which `shift` is added if there is one.
  llvm::SmallVector<mlir::Value, 4> floats(Emit &e, mlir::Value line,
                                           mlir::Value shift) const;

private:
  r1::Scheme scheme;
  /// The bytes that nibbles stand for, as often as they fit a register, and what
  /// extracts a nibble from each byte; null where looking up does so itself.
  mlir::Value table, mask;
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_NIBBLES_H
