//===- Image.h - The packed weights ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_IMAGE_H
#define SPUTNIK_RUNTIME_IMAGE_H

#include "runtime/Abi.h"
#include "runtime/Mapping.h"
#include "runtime/Result.h"
#include "runtime/ThreadPool.h"

#include <cstdint>
#include <string>

namespace sputnik::rt {

/// The weights of a model, from wherever its executable keeps them. They are
/// mapped, unless they are random or `copyToNodes` is called.
class Image {
public:
  /// `embedded` is the image that the executable at `executablePath` carries;
  /// weights beside it are in `<executablePath>.weights`. Refuses an image of
  /// another executable and one that was cut short. `pool` makes random
  /// weights.
  static Result<Image> open(const abi::Model &model, const uint8_t *embedded,
                            const std::string &executablePath,
                            ThreadPool &pool);

  /// Copies the weights, so that what each thread of `pool` reads of them is in
  /// the memory of its node. Fails if there is no address space for them.
  Status copyToNodes(const abi::Model &model, ThreadPool &pool);

  /// Model::weightBytes bytes, 64-byte aligned.
  const uint8_t *weights() const { return begin; }

private:
  Mapping mapping;
  const uint8_t *begin = nullptr;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_IMAGE_H
