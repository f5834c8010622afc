//===- FuzzChatTemplate.cpp - Any bytes as a chat template ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FuzzInput.h"

#include "importer/ChatTemplateReader.h"

using namespace sputnik;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const ChatTemplateReading reading = readChatTemplate(
      llvm::StringRef(reinterpret_cast<const char *>(data), size), "<bos>",
      "<eos>");
  require(reading.form.known() == reading.note.empty());
  require(reading.note.size() < 300);
  require(reading.note.find('\n') == std::string::npos);
  require(llvm::json::isUTF8(reading.note));
  return 0;
}
