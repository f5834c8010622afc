//===- TokenOrder.h - Numbers of the sampler on a GPU -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_TOKENORDER_H
#define SPUTNIK_CODEGEN_GPU_TOKENORDER_H

#include "codegen/gpu/Kernel.h"

#include <utility>

namespace sputnik::gpu {

/// Arithmetic of rt::Sampler, bit for bit, on 64-bit integers and floats; and
/// what a block does with such integers together. All threads of the block must
/// get to teamMin and scan.
class TokenOrder {
public:
  explicit TokenOrder(Kernel &k);

  // Keys are less the earlier a token comes: larger logits first, of equal ones
  // lower ids; before all of them those that are no numbers.
  static constexpr int64_t kIdBits = 24, kKeyBits = 32 + kIdBits;
  mlir::Value key(mlir::Value logit, mlir::Value id);
  mlir::Value logitOf(mlir::Value key);
  mlir::Value idOf(mlir::Value key);
  /// abi::SampleStatus of the token that comes first.
  mlir::Value statusOf(mlir::Value key);
  /// That of minus infinity: where there is no token.
  mlir::Value lastKey();

  /// What a token weighs, and its distance to the largest logit over the
  /// temperature.
  struct Weight {
    mlir::Value value, distance;
  };
  Weight weight(mlir::Value logit, mlir::Value largest,
                mlir::Value temperature);
  /// The bin of a distance of which something is left, `perUnit` to 1.
  mlir::Value bin(mlir::Value distance, int64_t perUnit);
  /// The next state of the random numbers, and a number below `limit`.
  std::pair<mlir::Value, mlir::Value> draw(mlir::Value state,
                                           mlir::Value limit);
  /// What the tokens that top-p keeps weigh more than.
  mlir::Value nucleusTarget(mlir::Value topP, mlir::Value weight);

  mlir::Value f64(double value);

  /// The least that a thread of the block has.
  mlir::Value teamMin(mlir::Value value);
  /// The sum of what the threads before this one have, and of what all have.
  std::pair<mlir::Value, mlir::Value> scan(mlir::Value value);

private:
  mlir::Value shuffleXor(mlir::Value value, int64_t mask);
  /// e to the power of x, which is at least -abi::kLargestDistance, as
  /// rt::expNonPositive has it.
  mlir::Value exp(mlir::Value x);

  Kernel &k;
  mlir::Value ofWarps; ///< In shared memory, one for each warp.
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_TOKENORDER_H
