//===- FileWriters.h - Small checkpoints made in memory ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writers that can also write what no honest program would. The fuzzers take
// their seeds from the same functions.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_TEST_UNIT_IMPORTER_FILEWRITERS_H
#define SPUTNIK_TEST_UNIT_IMPORTER_FILEWRITERS_H

#include "importer/Gguf.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sputnik::testing {

/// Little-endian bytes of a number.
std::string u16Bytes(uint16_t value);
std::string u32Bytes(uint32_t value);
std::string u64Bytes(uint64_t value);
std::string f32Bytes(float value);

/// A safetensors file of this header and data.
std::string safeTensorsFile(llvm::StringRef header, llvm::StringRef data);

/// A safetensors file of tensors of zeros.
struct ShapedTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t bytes;
};
std::string safeTensorsOfZeros(llvm::ArrayRef<ShapedTensor> tensors);

/// Collects the parts of a GGUF file. The public fields replace what the writer
/// would compute.
class GgufWriter {
public:
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::optional<uint64_t> claimedTensors, claimedKeys;
  /// Cut the file so long before its end.
  uint64_t dropTail = 0;

  static std::string string(llvm::StringRef text);
  /// A key with the bytes of its value.
  GgufWriter &raw(llvm::StringRef key, uint32_t kind, llvm::StringRef value);
  GgufWriter &u32(llvm::StringRef key, uint32_t value);
  GgufWriter &u16(llvm::StringRef key, uint16_t value);
  GgufWriter &f32(llvm::StringRef key, float value);
  GgufWriter &boolean(llvm::StringRef key, bool value);
  GgufWriter &text(llvm::StringRef key, llvm::StringRef value);
  GgufWriter &strings(llvm::StringRef key, llvm::ArrayRef<std::string> values);
  GgufWriter &i32s(llvm::StringRef key, llvm::ArrayRef<int32_t> values);
  GgufWriter &array(llvm::StringRef key, uint32_t kind, uint64_t count,
                    llvm::StringRef elements);
  /// Removes a key that was added before.
  GgufWriter &drop(llvm::StringRef key);

  /// A tensor of `data`, by default where the one before it ends. `dims` are
  /// innermost first.
  GgufWriter &tensor(llvm::StringRef name, llvm::ArrayRef<uint64_t> dims,
                     uint32_t type, llvm::StringRef data,
                     std::optional<uint64_t> offset = std::nullopt);

  /// Replaces the last value of smallGguf's RoPE divisors.
  GgufWriter &ropeFreqs(float last);

  std::string build() const;

private:
  std::vector<std::pair<std::string, std::string>> keys;
  std::vector<std::string> tensors;
  std::string body;
};

/// The shape of the models below: two layers, hidden size 8, two heads of size
/// 4, one kv head, 12 in the MLP, 11 tokens.
std::string smallConfig(llvm::StringRef modelType);
/// The tensors of such a model in BF16.
std::vector<ShapedTensor> smallTensors(llvm::StringRef modelType);
/// The same as GGUF, `llama`, with a vocabulary and rope_freqs.
GgufWriter smallGguf(llvm::StringRef architecture);
/// A good config.json of deepseek_v3, with scales of blocks.
std::string smallDeepSeekConfig();

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_IMPORTER_FILEWRITERS_H
