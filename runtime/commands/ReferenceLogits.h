//===- ReferenceLogits.h - Logits that another program wrote ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_REFERENCELOGITS_H
#define SPUTNIK_RUNTIME_COMMANDS_REFERENCELOGITS_H

#include "runtime/Result.h"

#include <cstdint>
#include <span>
#include <string>

namespace sputnik::rt {

/// A file as the command `logits` writes it: float32, one row of vocabulary
/// size for each position.
class ReferenceLogits {
public:
  /// Fails unless the file has exactly `rows` rows of `vocabSize` logits.
  static Result<ReferenceLogits> open(const std::string &path, int64_t rows,
                                      int64_t vocabSize);
  ReferenceLogits(ReferenceLogits &&other) noexcept;
  ReferenceLogits &operator=(ReferenceLogits &&) = delete;
  ~ReferenceLogits();

  /// Reads whole rows, from row `first` on.
  Status read(int64_t first, std::span<float> logits) const;
  const std::string &name() const { return path; }

private:
  ReferenceLogits(int descriptor, std::string path, int64_t vocabSize)
      : descriptor(descriptor), path(std::move(path)), vocabSize(vocabSize) {}

  int descriptor;
  std::string path;
  int64_t vocabSize;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_REFERENCELOGITS_H
