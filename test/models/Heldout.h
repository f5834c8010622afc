//===- Heldout.h - Problems for the bundled models --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TEST_MODELS_HELDOUT_H
#define SPUTNIK_TEST_MODELS_HELDOUT_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#include "gtest/gtest.h"

#include <string>
#include <vector>

namespace sputnik {

/// A question and the one right answer.
struct Problem {
  std::string prompt, answer;
};

/// The problems that the bundled models were not trained on.
inline std::vector<Problem> readHeldout() {
  auto buffer =
      llvm::MemoryBuffer::getFile(SPUTNIK_SOURCE_DIR "/models/heldout-500.jsonl");
  if (!buffer) {
    ADD_FAILURE() << buffer.getError().message();
    return {};
  }
  llvm::SmallVector<llvm::StringRef> lines;
  (*buffer)->getBuffer().split(lines, '\n', -1, /*KeepEmpty=*/false);
  std::vector<Problem> problems;
  for (llvm::StringRef line : lines) {
    llvm::json::Object object = *llvm::cantFail(llvm::json::parse(line)).getAsObject();
    problems.push_back(
        {object.getString("prompt")->str(), object.getString("answer")->str()});
  }
  return problems;
}

} // namespace sputnik

#endif // SPUTNIK_TEST_MODELS_HELDOUT_H
