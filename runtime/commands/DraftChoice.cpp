//===- DraftChoice.cpp - From --draft to a drafter ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/DraftChoice.h"
#include "runtime/PromptLookup.h"

namespace sputnik::rt {

Result<std::unique_ptr<Drafter>> makeDrafter(const std::string &choice) {
  if (choice == noDrafts)
    return std::unique_ptr<Drafter>();
  if (choice == promptLookup)
    return std::unique_ptr<Drafter>(std::make_unique<PromptLookup>());
  return SPUTNIK_ERROR("--draft=%s: the model has no draft head, expected %s "
                       "or %s",
                       choice.c_str(), noDrafts, promptLookup);
}

} // namespace sputnik::rt
