//===- FuzzChatMessages.cpp - Any bytes as a conversation -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FuzzInput.h"

#include "runtime/chat/ChatMessages.h"

using namespace sputnik;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string error;
  const auto messages = rt::parseChatMessages(
      std::string_view(reinterpret_cast<const char *>(data), size), error);
  require(messages.has_value() == error.empty());
  require(error.find('\n') == std::string::npos);
  return 0;
}
