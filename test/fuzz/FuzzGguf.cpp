//===- FuzzGguf.cpp - Any bytes as a GGUF file ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FuzzInput.h"

#include "importer/Gguf.h"
#include "importer/GgufNames.h"
#include "importer/GgufTokenizer.h"

using namespace sputnik;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const llvm::ArrayRef<uint8_t> bytes(data, size);
  llvm::Expected<GgufFile> file = GgufFile::parse(bytes, "x");
  if (!file) {
    requireOneLine(file.takeError());
    return 0;
  }
  requireTensors(file->tensors(), bytes);

  if (llvm::Expected<GgufTokenizer> tokenizer = readGgufTokenizer(*file)) {
    for (llvm::StringRef token : tokenizer->tokens)
      require(llvm::json::isUTF8(token));
    for (std::optional<int64_t> id :
         {tokenizer->bos, tokenizer->eos, tokenizer->pad})
      require(!id || static_cast<uint64_t>(*id) < tokenizer->tokens.size());
  } else {
    requireOneLine(tokenizer.takeError());
  }

  std::vector<TensorRef> tensors = file->takeTensors();
  for (TensorRef &tensor : tensors)
    tensor.name = huggingFaceName(tensor.name);
  if (llvm::Expected<ModelConfig> config =
          modelConfigFromGguf(*file, tensors)) {
    requireConfig(*config);
    markPermutedRows(*config, tensors);
  } else {
    requireOneLine(config.takeError());
  }
  return 0;
}
