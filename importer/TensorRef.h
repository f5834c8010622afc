//===- TensorRef.h - Where a tensor lies in its file ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_TENSORREF_H
#define SPUTNIK_IMPORTER_TENSORREF_H

#include "importer/TensorType.h"

#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <string>

namespace sputnik {

/// A tensor of a checkpoint. The bytes [offset, offset + bytes) lie inside the
/// file, and `bytes` is what type and shape need.
struct TensorRef {
  /// The Hugging Face name, also for GGUF; a GGUF tensor that has none keeps
  /// its own.
  std::string name;
  /// The name in the file, where it differs from `name`.
  std::string storedName;
  TensorType type;
  /// PyTorch order: [out, in] for the weight of a linear layer.
  llvm::SmallVector<int64_t, 4> shape;
  /// Index into Checkpoint::files().
  unsigned file = 0;
  /// From the start of the file. Any alignment.
  uint64_t offset = 0;
  uint64_t bytes = 0;
  /// 0, or the number of heads whose rows GGUF's "llama" architecture has
  /// reordered for interleaved RoPE: with d = rows / permutedHeads, row
  /// h*d + 2r holds Hugging Face's row h*d + r, and row h*d + 2r + 1 holds
  /// h*d + d/2 + r (r < d/2).
  unsigned permutedHeads = 0;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_TENSORREF_H
