//===- Checkpoint.h - A model on disk ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One view of a Hugging Face folder and of a GGUF file: what the model is,
// where each tensor lies, where the tokenizer is. The weights stay in the
// mapped files.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_IMPORTER_CHECKPOINT_H
#define SPUTNIK_IMPORTER_CHECKPOINT_H

#include "importer/GgufTokenizer.h"
#include "importer/InputFile.h"
#include "importer/ModelConfig.h"
#include "importer/TensorRef.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace sputnik {

/// The text files of a Hugging Face folder; a path is empty if the folder has
/// no such file.
struct TokenizerFiles {
  std::string tokenizerJson;
  std::string tokenizerConfigJson;
  std::string generationConfigJson;
  std::string chatTemplateJinja;
};

class Checkpoint {
public:
  /// `path` is a folder with config.json and model.safetensors, or with
  /// model.safetensors.index.json and the shards that it names; or a GGUF file,
  /// the first if the model is split into several. Errors are one line that
  /// begins with the file at fault.
  static llvm::Expected<Checkpoint> open(llvm::StringRef path);

  /// A folder of which only config.json and the tokenizer are read; it has no
  /// tensors.
  static llvm::Expected<Checkpoint> openConfigOnly(llvm::StringRef path);

  llvm::StringRef path() const { return root; }
  const ModelConfig &config() const { return model; }
  const GenerationConfig &generation() const { return sampling; }

  /// What TensorRef::file counts.
  llvm::ArrayRef<InputFile> files() const { return inputs; }
  /// In an order that depends on the files alone.
  llvm::ArrayRef<TensorRef> tensors() const { return list; }

  /// The tensor of a Hugging Face name, or null.
  const TensorRef *find(llvm::StringRef name) const;
  /// The same, checked: it exists, holds weights and has `shape`.
  llvm::Expected<const TensorRef *> tensor(llvm::StringRef name,
                                           llvm::ArrayRef<int64_t> shape) const;
  /// The bytes of a tensor in its mapped file.
  llvm::ArrayRef<uint8_t> data(const TensorRef &tensor) const {
    return inputs[tensor.file].bytes().slice(tensor.offset, tensor.bytes);
  }

  bool isGguf() const { return vocabulary.has_value(); }
  /// Of a folder.
  const TokenizerFiles &tokenizerFiles() const { return texts; }
  /// Of a GGUF file; it refers to the mapped file. Without tokens if the file
  /// has none.
  const GgufTokenizer &ggufTokenizer() const { return *vocabulary; }

private:
  Checkpoint() = default;

  llvm::Error readFolder(bool withTensors);
  llvm::Error readConfigs();
  llvm::Error readSingle(llvm::StringRef file);
  llvm::Error readSharded(llvm::StringRef indexFile);
  llvm::Error readGguf();
  llvm::Error addParts(GgufFile &first);
  void addGgufTensors(std::vector<TensorRef> tensors);
  llvm::Error readRopeFreqs();
  llvm::Error indexNames();
  std::string inFolder(llvm::StringRef name) const;
  std::string existing(llvm::StringRef name) const;

  std::string root;
  ModelConfig model;
  GenerationConfig sampling;
  std::vector<InputFile> inputs;
  std::vector<TensorRef> list;
  llvm::StringMap<unsigned> byName;
  TokenizerFiles texts;
  std::optional<GgufTokenizer> vocabulary;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_CHECKPOINT_H
