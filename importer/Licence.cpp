//===- Licence.cpp - Notes that licences ask users to see -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "importer/Licence.h"

llvm::SmallVector<llvm::StringRef>
sputnik::licenceNotes(llvm::StringRef modelType) {
  llvm::SmallVector<llvm::StringRef> notes = {
      "The licence of the checkpoint applies to this executable's weights; see "
      "the model's card.",
      "DeepSeek-R1 and its distilled weights: MIT."};
  if (modelType == "llama")
    notes.push_back("Distills of Llama keep the Llama Community License of "
                    "their base model. Built with Llama.");
  else if (modelType == "qwen2" || modelType == "qwen3")
    notes.push_back("Distills of Qwen keep the Apache-2.0 licence of their "
                    "base model.");
  return notes;
}
