//===- FuzzInput.h - What the fuzzers share ---------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_FUZZ_FUZZINPUT_H
#define SPUTNIK_TEST_FUZZ_FUZZINPUT_H

#include "importer/ModelConfig.h"
#include "importer/TensorRef.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace sputnik {

/// Stops the fuzzer unless the reader kept a promise.
inline void require(bool promise) {
  if (!promise)
    __builtin_trap();
}

/// An error is one line without control characters, in valid UTF-8.
inline void requireOneLine(llvm::Error error) {
  const std::string message = llvm::toString(std::move(error));
  require(!message.empty() && message.size() < 2000);
  require(std::none_of(message.begin(), message.end(),
                       [](unsigned char c) { return c < 0x20 || c == 0x7f; }));
  require(llvm::json::isUTF8(message));
}

/// The tensors lie within the file; reads all their bytes.
inline void requireTensors(llvm::ArrayRef<TensorRef> tensors,
                           llvm::ArrayRef<uint8_t> file) {
  for (const TensorRef &tensor : tensors) {
    require(tensor.offset <= file.size());
    require(tensor.bytes <= file.size() - tensor.offset);
    require(tensorBytes(tensor.type, tensor.shape) == tensor.bytes);
    require(llvm::json::isUTF8(tensor.name));
    if (!holdsWeights(tensor.type))
      continue;
    std::vector<float> values(tensor.bytes / blockBytes(tensor.type) *
                              blockElements(tensor.type));
    dequantize(tensor.type, file.data() + tensor.offset, values.data(),
               values.size());
  }
}

/// What the graph builders rely on.
inline void requireConfig(const ModelConfig &config) {
  const int64_t most = 1 << 24;
  for (int64_t size :
       {config.hiddenSize, config.intermediateSize, config.layers, config.heads,
        config.kvHeads, config.headDim, config.vocabSize,
        config.heads * config.headDim, config.kvHeads * config.headDim})
    require(size >= 1 && size <= most);
  require(config.layers <= 1000 && config.maxPositions >= 1);
  require(config.heads % config.kvHeads == 0 && config.headDim % 2 == 0);
  require(config.rmsNormEps > 0 && config.rmsNormEps <= 1);
  const RopeConfig &rope = config.rope;
  require(std::isfinite(rope.theta) && rope.theta > 1);
  require(std::isfinite(rope.factor) && rope.factor >= 1);
  require(std::isfinite(rope.cosSinFactor()) && rope.cosSinFactor() > 0);
  if (rope.kind != RopeConfig::Kind::None)
    require(rope.originalMaxPositions >= 1);
  for (int64_t id : config.eosIds)
    require(id >= 0 && id < config.vocabSize);
}

} // namespace sputnik

#endif // SPUTNIK_TEST_FUZZ_FUZZINPUT_H
