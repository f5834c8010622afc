//===- DraftChoice.h - From --draft to a drafter ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_DRAFTCHOICE_H
#define SPUTNIK_RUNTIME_COMMANDS_DRAFTCHOICE_H

#include "runtime/Drafter.h"
#include "runtime/Result.h"
#include "runtime/Session.h"

#include <memory>
#include <string>

namespace sputnik::rt {

inline constexpr char noDrafts[] = "off", promptLookup[] = "lookup";

/// What `--draft` stands for if it is not given: the draft head, with one token
/// a step, if the model has one, else `off`.
std::string defaultDraft(const abi::Model &model);

/// The drafter that `choice`, a value of --draft, names for `session`; null for
/// `off`. Fails if the model has none such.
Result<std::unique_ptr<Drafter>> makeDrafter(const std::string &choice,
                                             Session &session,
                                             Sampler &sampler);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_DRAFTCHOICE_H
