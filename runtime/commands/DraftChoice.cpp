//===- DraftChoice.cpp - From --draft to a drafter ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/commands/DraftChoice.h"
#include "runtime/DraftHead.h"
#include "runtime/PromptLookup.h"

#include <cstdlib>

namespace sputnik::rt {

std::string defaultDraft(const abi::Model &model) {
  return model.draftVerify.maxRows ? "1" : noDrafts;
}

Result<std::unique_ptr<Drafter>> makeDrafter(const std::string &choice,
                                             Session &session,
                                             Sampler &sampler) {
  std::unique_ptr<Drafter> drafter;
  if (choice == noDrafts)
    return drafter;
  if (choice == promptLookup) {
    drafter = std::make_unique<PromptLookup>();
    return drafter;
  }
  if (!session.engine().model().draftVerify.maxRows)
    return SPUTNIK_ERROR("--draft=%s: the model has no draft head, expected %s "
                         "or %s",
                         choice.c_str(), noDrafts, promptLookup);
  drafter = std::make_unique<DraftHead>(
      session.engine(), session.slotNumber(), sampler,
      static_cast<size_t>(std::strtoull(choice.c_str(), nullptr, 10)));
  return drafter;
}

} // namespace sputnik::rt
