//===- Emit.h - Short names for building kernel code ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels are emitted as scf, arith, vector and llvm ops on 64-bit integers and
// raw pointers. Emit carries the builder and gives those ops short names.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_CODEGEN_CPU_EMIT_H
#define SPUTNIK_CODEGEN_CPU_EMIT_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"

namespace sputnik::cpu {

class Emit {
public:
  Emit(mlir::OpBuilder &builder, mlir::Location loc) : b(builder), loc(loc) {}

  mlir::OpBuilder &b;
  mlir::Location loc;
  /// Functions such as exp come from the C library: independent of ours.
  bool useLibm = false;

  // Types.
  mlir::Type ptrType() { return mlir::LLVM::LLVMPointerType::get(b.getContext()); }
  mlir::Type i64Type() { return b.getI64Type(); }
  mlir::Type f32Type() { return b.getF32Type(); }
  mlir::VectorType vecType(int64_t lanes, mlir::Type element) {
    return mlir::VectorType::get({lanes}, element);
  }
  mlir::VectorType f32Vec(int64_t lanes) { return vecType(lanes, f32Type()); }

  // Constants.
  mlir::Value i64(int64_t value);
  mlir::Value i32(int32_t value);
  mlir::Value f32(float value);
  /// A vector (or scalar, for a scalar type) with `value` in every lane.
  mlir::Value splat(mlir::Type type, double value);

  /// `value` as a value that LLVM knows nothing about: it stays in a register
  /// instead of being made again where it is used.
  mlir::Value pin(mlir::Value value);

  // 64-bit integers.
  mlir::Value add(mlir::Value a, mlir::Value c);
  mlir::Value add(mlir::Value a, int64_t c) { return add(a, i64(c)); }
  mlir::Value sub(mlir::Value a, mlir::Value c);
  mlir::Value mul(mlir::Value a, mlir::Value c);
  mlir::Value mul(mlir::Value a, int64_t c) { return mul(a, i64(c)); }
  mlir::Value div(mlir::Value a, mlir::Value c);
  mlir::Value div(mlir::Value a, int64_t c) { return div(a, i64(c)); }
  mlir::Value rem(mlir::Value a, int64_t c);
  mlir::Value min(mlir::Value a, mlir::Value c);
  mlir::Value ceilDiv(mlir::Value a, int64_t c) { return div(add(a, c - 1), c); }
  mlir::Value less(mlir::Value a, mlir::Value c);
  mlir::Value equal(mlir::Value a, mlir::Value c);
  mlir::Value both(mlir::Value a, mlir::Value c);
  /// A 32-bit integer, widened without sign.
  mlir::Value widen(mlir::Value i32);

  // Memory. Offsets are bytes.
  mlir::Value at(mlir::Value base, mlir::Value offset);
  mlir::Value at(mlir::Value base, int64_t offset) { return at(base, i64(offset)); }
  mlir::Value load(mlir::Type type, mlir::Value ptr, unsigned align);
  void store(mlir::Value value, mlir::Value ptr, unsigned align);
  /// Loads and stores that follow stay behind those before in machine code too.
  void keepMemoryOrder();
  /// Loads `lanes` stored values (f32 or bf16) as f32; a scalar for one lane.
  mlir::Value loadAsF32(mlir::Type element, mlir::Value ptr, int64_t lanes = 1);
  /// Stores f32 values as `element`.
  void storeFromF32(mlir::Value value, mlir::Type element, mlir::Value ptr);
  static int64_t bytesOf(mlir::Type element) {
    return element.getIntOrFloatBitWidth() / 8;
  }

  // Floating point, scalars or vectors.
  mlir::Value addf(mlir::Value a, mlir::Value c);
  mlir::Value subf(mlir::Value a, mlir::Value c);
  mlir::Value mulf(mlir::Value a, mlir::Value c);
  mlir::Value divf(mlir::Value a, mlir::Value c);
  mlir::Value maxf(mlir::Value a, mlir::Value c);
  mlir::Value fma(mlir::Value a, mlir::Value c, mlir::Value acc);
  mlir::Value broadcast(mlir::Value scalar, int64_t lanes);
  /// A vector as `parts` vectors of its lanes in order, and back. The number of
  /// parts is a power of two.
  llvm::SmallVector<mlir::Value> split(mlir::Value v, int64_t parts);
  mlir::Value join(llvm::ArrayRef<mlir::Value> parts);
  /// Sum (maximum) of the lanes, in a fixed order; identity on a scalar.
  mlir::Value reduceAdd(mlir::Value v);
  mlir::Value reduceMax(mlir::Value v);
  /// e^x within 2 ulp for x <= 88; about the smallest normal far below.
  mlir::Value exp(mlir::Value x);

  // Control.
  using Body = llvm::function_ref<void(mlir::Value)>;
  using CarryBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      mlir::Value, mlir::ValueRange)>;
  void loop(mlir::Value begin, mlir::Value end, int64_t step, Body body);
  void loop(mlir::Value begin, mlir::Value end, mlir::Value step, Body body);
  llvm::SmallVector<mlir::Value> loop(mlir::Value begin, mlir::Value end,
                                      int64_t step, mlir::ValueRange carried,
                                      CarryBody body);
  void ifThen(mlir::Value condition, llvm::function_ref<void()> body);
  /// Covers [0, size) with vectors of `lanes` and then scalars; `body` gets the
  /// index and how many lanes it covers. `size` is known when code is made.
  void vectorLoop(int64_t size, int64_t lanes,
                  llvm::function_ref<void(mlir::Value, int64_t)> body);
  /// As vectorLoop, summing what `body` gives (vectors of its lanes) to one f32.
  mlir::Value
  vectorSum(int64_t size, int64_t lanes,
            llvm::function_ref<mlir::Value(mlir::Value, int64_t)> body);
};

} // namespace sputnik::cpu

#endif // SPUTNIK_CODEGEN_CPU_EMIT_H
