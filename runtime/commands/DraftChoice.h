//===- DraftChoice.h - From --draft to a drafter ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_DRAFTCHOICE_H
#define SPUTNIK_RUNTIME_COMMANDS_DRAFTCHOICE_H

#include "runtime/Drafter.h"
#include "runtime/Result.h"

#include <memory>
#include <string>

namespace sputnik::rt {

inline constexpr char noDrafts[] = "off", promptLookup[] = "lookup";

/// The drafter that `choice`, the value of --draft, names; null for `off`.
/// Fails if the model has none such.
Result<std::unique_ptr<Drafter>> makeDrafter(const std::string &choice);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_DRAFTCHOICE_H
